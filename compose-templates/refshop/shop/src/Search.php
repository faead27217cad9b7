<?php
// Finding products by words: in the search service, and in the database when there is none or it does not answer.
declare(strict_types=1);

namespace Shop;

final class Search
{
    private const MAX_WORDS = 8;

    public function __construct(private readonly Catalogue $catalogue, private readonly ?Sphinx $sphinx)
    {
    }

    /** @return list<array<string, int|string|null>> */
    public function find(string $text): array
    {
        $words = self::words($text);
        if ($words === []) {
            return [];
        }
        if ($this->sphinx !== null) {
            try {
                $ids = $this->sphinx->ids($words);
                if ($ids === [] && $this->heal() > 0) {
                    $ids = $this->sphinx->ids($words);
                }
                return $this->catalogue->byIds($ids);
            } catch (TierDown $e) {
                error_log('search: the search service does not answer; searching in the database');
            }
        }
        return $this->catalogue->matching($words);
    }

    public function reindex(): int
    {
        if ($this->sphinx === null) {
            return 0;
        }
        $products = $this->catalogue->all();
        $this->sphinx->fill($products);
        return count($products);
    }

    /** Rebuilds the index when it lost documents (it was killed, or its volume is new). */
    public function heal(): int
    {
        if ($this->sphinx === null || $this->sphinx->count() === $this->catalogue->count()) {
            return 0;
        }
        return $this->reindex();
    }

    /** @return list<string> */
    private static function words(string $text): array
    {
        preg_match_all('/[\p{L}\p{N}]+/u', mb_strtolower(mb_substr($text, 0, 200)), $found);
        return array_slice($found[0], 0, self::MAX_WORDS);
    }
}
