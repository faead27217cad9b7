<?php
// Placing orders: amounts come from the database, stock is taken by conditional update,
// and a checkout token makes one order however often it is sent.
declare(strict_types=1);

namespace Shop;

final class Orders
{
    public const SHIPPING_MINOR = 490;
    public const FREE_SHIPPING_FROM_MINOR = 7500;

    public function __construct(private readonly Db $db)
    {
    }

    /**
     * @param array<int, int> $cart product id → quantity
     * @param array<string, string> $buyer the checkout form's fields
     * @return string the order's number
     * @throws OutOfStock when one of the products is not there in that quantity
     */
    public function place(string $token, array $cart, array $buyer): string
    {
        // The same order of products in every transaction: two buyers cannot wait for each other.
        ksort($cart);
        try {
            return $this->db->transaction(fn () => $this->numberOf($token) ?? $this->write($token, $cart, $buyer));
        } catch (OutOfStock $e) {
            // The other half of a double click may have taken the last piece for this very order.
            return $this->numberOf($token) ?? throw $e;
        } catch (\PDOException $e) {
            if (Db::isDuplicate($e) && ($number = $this->numberOf($token)) !== null) {
                return $number;
            }
            throw $e;
        }
    }

    public static function shipping(int $itemsMinor): int
    {
        return $itemsMinor >= self::FREE_SHIPPING_FROM_MINOR ? 0 : self::SHIPPING_MINOR;
    }

    /** @return array<string, int|string|null>|null */
    public function find(string $number): ?array
    {
        $row = $this->db->row('SELECT * FROM orders WHERE number = ?', [$number]);
        return $row === null ? null : Release::order($row);
    }

    /** @return list<array<string, int|string|null>> */
    public function lines(int $orderId): array
    {
        return $this->db->rows(
            'SELECT product_id, title, unit_minor, quantity, line_minor FROM order_lines WHERE order_id = ? ORDER BY product_id',
            [$orderId],
        );
    }

    /** @return list<array<string, int|string|null>> */
    public function latest(int $limit, int $offset): array
    {
        return array_map(Release::order(...), $this->db->rows(
            'SELECT o.*, (SELECT SUM(quantity) FROM order_lines l WHERE l.order_id = o.id) AS pieces
             FROM orders o ORDER BY o.id DESC LIMIT ? OFFSET ?',
            [$limit, $offset],
        ));
    }

    /** @return array{orders: int, revenue_minor: int} */
    public function totals(): array
    {
        $row = $this->db->row('SELECT COUNT(*) AS orders, COALESCE(SUM(total_minor), 0) AS revenue_minor FROM orders');
        return ['orders' => (int) $row['orders'], 'revenue_minor' => (int) $row['revenue_minor']];
    }

    /** Orders of the last days, and what they came to. @return array{orders: int, revenue_minor: int} */
    public function since(int $days): array
    {
        $row = $this->db->row('SELECT COUNT(*) AS orders, COALESCE(SUM(total_minor), 0) AS revenue_minor
            FROM orders WHERE placed_at > UTC_TIMESTAMP() - INTERVAL ? DAY', [$days]);
        return ['orders' => (int) $row['orders'], 'revenue_minor' => (int) $row['revenue_minor']];
    }

    private function numberOf(string $token): ?string
    {
        return $this->db->value('SELECT number FROM orders WHERE checkout_token = ?', [$token]);
    }

    private function write(string $token, array $cart, array $buyer): string
    {
        $lines = [];
        foreach ($cart as $id => $quantity) {
            $taken = $this->db->run('UPDATE products SET stock = stock - ? WHERE id = ? AND stock >= ?', [$quantity, $id, $quantity]);
            // Read under the row lock that the update took: price and currency of this very moment.
            $product = $this->db->row('SELECT id, title, price_minor, currency, stock FROM products WHERE id = ? FOR UPDATE', [$id]);
            if ($taken !== 1) {
                throw new OutOfStock($id, (string) ($product['title'] ?? 'This product'), (int) ($product['stock'] ?? 0));
            }
            $lines[] = $product + ['quantity' => $quantity, 'line_minor' => $quantity * $product['price_minor']];
        }
        if ($lines === []) {
            throw new \InvalidArgumentException('an order needs at least one line');
        }
        $currencies = array_unique(array_column($lines, 'currency'));
        if (count($currencies) !== 1) {
            throw new \LogicException('an order has one currency');
        }
        $items = array_sum(array_column($lines, 'line_minor'));
        $shipping = self::shipping($items);
        $number = self::newNumber();
        $columns = Release::orderColumns($this->db, $buyer) + [
            'number' => $number,
            'checkout_token' => $token,
            'currency' => $currencies[0],
            'items_minor' => $items,
            'shipping_minor' => $shipping,
            'total_minor' => $items + $shipping,
        ];
        $this->db->run(
            sprintf(
                'INSERT INTO orders (%s, placed_at) VALUES (%sUTC_TIMESTAMP())',
                implode(', ', array_keys($columns)),
                str_repeat('?, ', count($columns)),
            ),
            array_values($columns),
        );
        $orderId = $this->db->lastId();
        $marks = implode(',', array_fill(0, count($lines), '(?, ?, ?, ?, ?, ?)'));
        $values = [];
        foreach ($lines as $line) {
            array_push($values, $orderId, $line['id'], $line['title'], $line['price_minor'], $line['quantity'], $line['line_minor']);
        }
        $this->db->run("INSERT INTO order_lines (order_id, product_id, title, unit_minor, quantity, line_minor) VALUES $marks", $values);
        return $number;
    }

    /** Ten characters without look-alikes: it tells nobody how many orders there are. */
    private static function newNumber(): string
    {
        $alphabet = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
        $text = '';
        for ($i = 0; $i < 10; $i++) {
            $text .= $alphabet[random_int(0, 31)];
        }
        return 'R' . substr($text, 0, 5) . '-' . substr($text, 5);
    }
}
