<?php
// What every page works with: the services, the buyer's session, the request's fields, the frame around the page.
declare(strict_types=1);

namespace Shop;

final class Context
{
    private function __construct(public readonly Services $services, public readonly Session $session)
    {
    }

    public static function open(Services $services): self
    {
        return new self($services, Session::open($services));
    }

    public function csrfHolds(): bool
    {
        return hash_equals($this->session->csrf(), $this->field('csrf', 64));
    }

    /** A field of the form or the address as trimmed text of at most `$length` characters; '' when it is not there. */
    public function field(string $name, int $length): string
    {
        $value = $_POST[$name] ?? $_GET[$name] ?? '';
        if (!is_string($value) || !mb_check_encoding($value, 'UTF-8')) {
            return '';
        }
        return mb_substr(trim((string) preg_replace('/[\x00-\x1f\x7f]+/', ' ', $value)), 0, $length);
    }

    public function number(string $name, int $low, int $high): ?int
    {
        $value = filter_var($this->field($name, 12), FILTER_VALIDATE_INT);
        return $value === false || $value < $low || $value > $high ? null : $value;
    }

    public function view(): View
    {
        $config = $this->services->config;
        $money = $this->services->money();
        return new View([
            'shop' => $config->shopName,
            'language' => strtr($config->locale, '_', '-'),
            'categories' => $this->services->catalogue()->categories(),
            'pieces' => array_sum($this->session->cart()),
            'csrf' => $this->session->csrf(),
            'query' => '',
            'here' => '',
            'e' => View::escape(...),
            'money' => $money->format(...),
            'asset' => Assets::url(...),
        ]);
    }

    public function notFound(): Response
    {
        return $this->view()->page('message', 'Not found', [
            'heading' => 'There is nothing here',
            'text' => 'The page may have moved, or the product is no longer made.',
        ], 404);
    }
}
