<?php
// Reading categories and products.
declare(strict_types=1);

namespace Shop;

final class Catalogue
{
    private const PRODUCT = 'SELECT p.id, p.slug, p.title, p.description, p.price_minor, p.currency, p.stock, p.picture,
        p.category_id, c.slug AS category_slug, c.title AS category_title
        FROM products p JOIN categories c ON c.id = p.category_id ';

    public function __construct(private readonly Db $db)
    {
    }

    /** @return list<array<string, int|string|null>> */
    public function categories(): array
    {
        return $this->db->rows('SELECT id, slug, title, blurb, picture FROM categories ORDER BY position');
    }

    /** @return array<string, int|string|null>|null */
    public function category(string $slug): ?array
    {
        return $this->db->row('SELECT id, slug, title, blurb, picture FROM categories WHERE slug = ?', [$slug]);
    }

    /** @return list<array<string, int|string|null>> */
    public function inCategory(int $categoryId): array
    {
        return $this->db->rows(self::PRODUCT . 'WHERE p.category_id = ? ORDER BY p.id', [$categoryId]);
    }

    /** @return list<array<string, int|string|null>> */
    public function featured(): array
    {
        return $this->db->rows(self::PRODUCT . 'WHERE p.featured = 1 ORDER BY p.id LIMIT 8');
    }

    /** @return list<array<string, int|string|null>> */
    public function all(): array
    {
        return $this->db->rows(self::PRODUCT . 'ORDER BY p.id');
    }

    public function count(): int
    {
        return (int) $this->db->value('SELECT COUNT(*) FROM products');
    }

    /** @return array<string, int|string|null>|null */
    public function product(string $slug): ?array
    {
        return $this->db->row(self::PRODUCT . 'WHERE p.slug = ?', [$slug]);
    }

    /**
     * Products by id, in the order of the ids; those that are gone are left out.
     *
     * @param list<int> $ids
     * @return list<array<string, int|string|null>>
     */
    public function byIds(array $ids): array
    {
        if ($ids === []) {
            return [];
        }
        $marks = implode(',', array_fill(0, count($ids), '?'));
        $found = array_column($this->db->rows(self::PRODUCT . "WHERE p.id IN ($marks)", $ids), null, 'id');
        return array_values(array_filter(array_map(static fn (int $id) => $found[$id] ?? null, $ids)));
    }

    /**
     * Every word must be in the title, the description or the category.
     *
     * @param list<string> $words
     * @return list<array<string, int|string|null>>
     */
    public function matching(array $words): array
    {
        $where = [];
        $values = [];
        foreach ($words as $word) {
            $like = '%' . addcslashes($word, '\\%_') . '%';
            $where[] = '(p.title LIKE ? OR p.description LIKE ? OR c.title LIKE ?)';
            array_push($values, $like, $like, $like);
        }
        $values[] = '%' . addcslashes($words[0], '\\%_') . '%';
        return $this->db->rows(
            self::PRODUCT . 'WHERE ' . implode(' AND ', $where) . ' ORDER BY p.title LIKE ? DESC, p.id LIMIT 60',
            $values,
        );
    }
}
