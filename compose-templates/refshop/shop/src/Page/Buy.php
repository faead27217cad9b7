<?php
// Cart, checkout, confirmation.
declare(strict_types=1);

namespace Shop\Page;

use Shop\Context;
use Shop\Orders;
use Shop\OutOfStock;
use Shop\Release;
use Shop\Response;
use Shop\Services;
use Shop\Session;

final class Buy
{
    private const COUNTRIES = [
        'AT' => 'Austria', 'BE' => 'Belgium', 'CH' => 'Switzerland', 'CZ' => 'Czechia', 'DE' => 'Germany', 'DK' => 'Denmark',
        'ES' => 'Spain', 'FI' => 'Finland', 'FR' => 'France', 'GB' => 'United Kingdom', 'IE' => 'Ireland', 'IT' => 'Italy',
        'NL' => 'Netherlands', 'NO' => 'Norway', 'PL' => 'Poland', 'PT' => 'Portugal', 'SE' => 'Sweden', 'US' => 'United States',
    ];
    private const FIELDS = ['name' => 120, 'email' => 190, 'street' => 160, 'postcode' => 20, 'city' => 100, 'country' => 2];

    public function __construct(private readonly Context $context)
    {
    }

    public function cart(): Response
    {
        return $this->context->view()->page('cart', 'Your cart', $this->content());
    }

    public function add(): Response
    {
        $product = $this->context->services->catalogue()->byIds([$this->context->number('product', 1, PHP_INT_MAX) ?? 0])[0] ?? null;
        if ($product === null) {
            return $this->context->notFound();
        }
        $quantity = $this->context->number('quantity', 1, Session::MAX_QUANTITY) ?? 1;
        $this->context->session->addToCart((int) $product['id'], $quantity);
        return Response::seeOther('/cart');
    }

    public function update(): Response
    {
        $id = $this->context->number('product', 1, PHP_INT_MAX);
        $quantity = $this->context->number('quantity', 0, Session::MAX_QUANTITY);
        if ($id !== null && $quantity !== null) {
            $this->context->session->setInCart($id, $quantity);
        }
        return Response::seeOther('/cart');
    }

    public function checkout(): Response
    {
        $content = $this->content();
        return $content['lines'] === [] ? Response::seeOther('/cart') : $this->form($content, [], []);
    }

    public function place(): Response
    {
        $buyer = [];
        foreach (self::fields() as $field => $length) {
            $buyer[$field] = $this->context->field($field, $length);
        }
        $token = $this->context->field('token', 64);
        if (!$this->context->session->ownsCheckoutToken($token)) {
            return Response::seeOther('/checkout');
        }
        $content = $this->content();
        if ($content['lines'] === []) {
            // The second half of a double click, after the first emptied the cart: show the order it made.
            $number = $this->context->services->db()->value('SELECT number FROM orders WHERE checkout_token = ?', [$token]);
            return Response::seeOther($number === null ? '/cart' : self::confirmationPath((string) $number));
        }
        $errors = self::errors($buyer);
        if ($errors !== []) {
            return $this->form($content, $buyer, $errors, 422, $token);
        }
        $cart = array_column($content['lines'], 'quantity', 'id');
        try {
            $number = $this->context->services->orders()->place($token, $cart, $buyer);
        } catch (OutOfStock $e) {
            return $this->context->view()->page('cart', 'Your cart', ['sold_out' => $e] + $this->content(), 409);
        }
        $this->context->session->emptyCart();
        return Response::seeOther(self::confirmationPath($number));
    }

    public function confirmation(string $number, string $proof): Response
    {
        $orders = $this->context->services->orders();
        $order = hash_equals(self::proof($number), $proof) ? $orders->find($number) : null;
        if ($order === null) {
            return $this->context->notFound();
        }
        return $this->context->view()->page('confirmation', "Order $number", [
            'order' => $order,
            'lines' => $orders->lines((int) $order['id']),
            'countries' => self::COUNTRIES,
        ]);
    }

    /** @return array<string, int> field → longest */
    private static function fields(): array
    {
        return self::FIELDS + Release::MORE_FIELDS;
    }

    private static function confirmationPath(string $number): string
    {
        return "/order/$number/" . self::proof($number);
    }

    /** Only who placed an order has its address. */
    private static function proof(string $number): string
    {
        return substr(Services::seal('order', $number), 0, 32);
    }

    /** The cart with today's prices. @return array<string, mixed> */
    private function content(): array
    {
        $cart = $this->context->session->cart();
        $lines = array_map(
            static fn (array $p) => $p + ['quantity' => $cart[$p['id']], 'line_minor' => $cart[$p['id']] * $p['price_minor']],
            $this->context->services->catalogue()->byIds(array_keys($cart)),
        );
        $items = array_sum(array_column($lines, 'line_minor'));
        return [
            'lines' => $lines,
            'currency' => $lines[0]['currency'] ?? $this->context->services->config->currency,
            'items_minor' => $items,
            'shipping_minor' => Orders::shipping($items),
            'total_minor' => $items + Orders::shipping($items),
            'free_from_minor' => Orders::FREE_SHIPPING_FROM_MINOR,
            'max_quantity' => Session::MAX_QUANTITY,
        ];
    }

    private function form(array $content, array $buyer, array $errors, int $status = 200, string $token = ''): Response
    {
        return $this->context->view()->page('checkout', 'Checkout', $content + [
            'buyer' => $buyer + array_fill_keys(array_keys(self::fields()), ''),
            'errors' => $errors,
            'countries' => self::COUNTRIES,
            'token' => $token !== '' ? $token : $this->context->session->newCheckoutToken(),
        ], $status);
    }

    /** @return array<string, string> field → what is wrong with it */
    private static function errors(array $buyer): array
    {
        $errors = [];
        $wanted = [
            'name' => 'Please tell us your name.',
            'street' => 'Please give street and house number.',
            'postcode' => 'Please give a postcode.',
            'city' => 'Please give a town or city.',
        ];
        foreach ($wanted as $field => $message) {
            if ($buyer[$field] === '') {
                $errors[$field] = $message;
            }
        }
        if (filter_var($buyer['email'], FILTER_VALIDATE_EMAIL) === false) {
            $errors['email'] = 'This does not look like an e-mail address.';
        }
        if (!isset(self::COUNTRIES[$buyer['country']])) {
            $errors['country'] = 'Please choose a country.';
        }
        return $errors;
    }
}
