<?php
// The search service, which speaks MySQL's protocol on port 9306 and knows no logins.
declare(strict_types=1);

namespace Shop;

final class Sphinx
{
    private ?\mysqli $link = null;

    /** @param list<string> $words @return list<int> product ids, best first */
    public function ids(array $words): array
    {
        // Words are letters and digits only (Search::words), so none is an operator; a prefix matches from two letters.
        $query = implode(' ', array_map(
            static fn (string $w) => mb_strlen($w) >= 2 ? "($w | $w*)" : $w,
            $words,
        ));
        $result = $this->query(sprintf(
            "SELECT id FROM products WHERE MATCH('%s') LIMIT 60 OPTION field_weights=(title=10, category=4, description=1)",
            $this->link()->real_escape_string($query),
        ));
        return array_map(static fn (array $row) => (int) $row[0], $result->fetch_all());
    }

    public function count(): int
    {
        return (int) $this->query('SELECT COUNT(*) FROM products')->fetch_row()[0];
    }

    /** Replaces the whole index. @param list<array<string, int|string|null>> $products */
    public function fill(array $products): void
    {
        $this->query('TRUNCATE RTINDEX products');
        foreach (array_chunk($products, 200) as $chunk) {
            $rows = array_map(fn (array $p) => sprintf(
                "(%d, '%s', '%s', '%s', %d, %d)",
                $p['id'],
                $this->link()->real_escape_string((string) $p['title']),
                $this->link()->real_escape_string((string) $p['category_title']),
                $this->link()->real_escape_string((string) $p['description']),
                $p['price_minor'],
                $p['category_id'],
            ), $chunk);
            $this->query('REPLACE INTO products (id, title, category, description, price, category_id) VALUES ' . implode(',', $rows));
        }
    }

    private function query(string $sql): \mysqli_result|bool
    {
        try {
            return $this->link()->query($sql);
        } catch (\mysqli_sql_exception | \ErrorException $e) {
            throw new TierDown('search', $e);
        }
    }

    private function link(): \mysqli
    {
        if ($this->link !== null) {
            return $this->link;
        }
        mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
        $link = mysqli_init();
        $link->options(MYSQLI_OPT_CONNECT_TIMEOUT, 1);
        $link->options(MYSQLI_OPT_READ_TIMEOUT, 3);
        try {
            $link->real_connect('search', '', '', '', 9306);
        } catch (\mysqli_sql_exception | \ErrorException $e) {
            throw new TierDown('search', $e);
        }
        return $this->link = $link;
    }
}
