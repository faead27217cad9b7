<?php
// Makes an empty database into this shop. Safe to run twice, at once, and again after a crash half-way:
// the products and the note that they are there are written in one transaction.
declare(strict_types=1);

namespace Shop;

final class Install
{
    private const SEARCH_WAIT_SECONDS = 20;

    public function __construct(private readonly Services $services)
    {
    }

    public function run(): string
    {
        $db = $this->services->db();
        return $db->locked('shop-install', 60, function () use ($db): string {
            $applied = Migrations::apply($db);
            $seeded = $db->transaction(fn () => $this->seed($db));
            $indexed = $this->fillIndex();
            return sprintf(
                'installed: schema %d (%d applied), %s, %d products indexed',
                Release::SCHEMA,
                count($applied),
                $seeded ? 'catalogue written' : 'catalogue was there',
                $indexed,
            );
        });
    }

    /** The search service may start at the same time: it gets a moment, and the catalogue is there already. */
    private function fillIndex(): int
    {
        $deadline = hrtime(true) + self::SEARCH_WAIT_SECONDS * 1_000_000_000;
        while (true) {
            try {
                return $this->services->search()->heal();
            } catch (TierDown $e) {
                if ($e->tier !== 'search' || hrtime(true) > $deadline) {
                    throw $e;
                }
                usleep(50_000);
            }
        }
    }

    private function seed(Db $db): bool
    {
        if ($db->value("SELECT value FROM settings WHERE name = 'catalogue'") !== null) {
            return false;
        }
        $catalogue = require __DIR__ . '/../catalogue/catalogue.php';
        $categories = [];
        $products = [];
        foreach ($catalogue as $position => $category) {
            array_push($categories, $position + 1, $category['slug'], $category['title'], $category['blurb'], $category['products'][0]['slug'], $position);
            foreach ($category['products'] as $p) {
                array_push(
                    $products,
                    intdiv(count($products), 10) + 1,
                    $position + 1,
                    $p['slug'],
                    $p['title'],
                    $p['description'],
                    $p['price'],
                    $this->services->config->currency,
                    $p['stock'],
                    (int) ($p['featured'] ?? false),
                    $p['slug'],
                );
            }
        }
        $rows = static fn (array $values, int $width): string =>
            implode(',', array_fill(0, intdiv(count($values), $width), '(' . implode(',', array_fill(0, $width, '?')) . ')'));
        $db->run('INSERT INTO categories (id, slug, title, blurb, picture, position) VALUES ' . $rows($categories, 6), $categories);
        $db->run('INSERT INTO products (id, category_id, slug, title, description, price_minor, currency, stock, featured, picture) VALUES '
            . $rows($products, 10), $products);
        $db->run("INSERT INTO settings (name, value) VALUES ('catalogue', '1')");
        return true;
    }
}
