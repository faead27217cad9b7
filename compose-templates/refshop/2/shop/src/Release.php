<?php
// What differs from release to release beside pages and pictures: what an order's row looks like in this release's database.
declare(strict_types=1);

namespace Shop;

final class Release
{
    public const VERSION = '2.0.0';
    /** The database schema this code expects. */
    public const SCHEMA = 2;
    /** Fields of the checkout form that this release asks for beside the address; all may be left empty. Field → longest. */
    public const MORE_FIELDS = ['note' => 200];

    /** What an order's row says about its buyer. @param array<string, string> $buyer @return array<string, int|string> column → value */
    public static function orderColumns(Db $db, array $buyer): array
    {
        return array_intersect_key($buyer, array_flip(['name', 'email', 'street', 'postcode', 'city', 'country', 'note']));
    }

    /** An order's row with the names that pages use. @param array<string, int|string|null> $row @return array<string, int|string|null> */
    public static function order(array $row): array
    {
        return $row;
    }
}
