<?php
// What differs from release to release beside pages and pictures: what an order's row looks like in this release's database.
declare(strict_types=1);

namespace Shop;

final class Release
{
    public const VERSION = '3.0.0';
    /** The database schema this code expects. */
    public const SCHEMA = 3;
    /** Fields of the checkout form that this release asks for beside the address; all may be left empty. Field → longest. */
    public const MORE_FIELDS = ['note' => 200];
    /** Field → column. */
    private const COLUMNS = [
        'name' => 'ship_name',
        'street' => 'ship_street',
        'postcode' => 'ship_postcode',
        'city' => 'ship_city',
        'country' => 'ship_country',
        'email' => 'email',
        'note' => 'note',
    ];

    /** What an order's row says about its buyer. @param array<string, string> $buyer @return array<string, int|string> column → value */
    public static function orderColumns(Db $db, array $buyer): array
    {
        $db->run(
            'INSERT INTO buyers (email, since) VALUES (?, UTC_TIMESTAMP()) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)',
            [$buyer['email']],
        );
        $columns = ['buyer_id' => $db->lastId()];
        foreach (self::COLUMNS as $field => $column) {
            $columns[$column] = $buyer[$field];
        }
        return $columns;
    }

    /** An order's row with the names that pages use. @param array<string, int|string|null> $row @return array<string, int|string|null> */
    public static function order(array $row): array
    {
        foreach (self::COLUMNS as $field => $column) {
            $row[$field] = $row[$column];
        }
        return $row;
    }
}
