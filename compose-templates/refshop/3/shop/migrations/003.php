<?php
// Release 3: buyers are kept once, and an order's columns say that the address is where the parcel goes. The last statement renames
// columns that older code writes, so there is no way back; no value is copied and dropped, so there is nothing to lose either.
declare(strict_types=1);

use Shop\Migrations;

return [
    'works_from' => 3,
    'steps' => [
        'CREATE TABLE IF NOT EXISTS buyers (
            id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            email VARCHAR(190) NOT NULL UNIQUE,
            since DATETIME NOT NULL
        ) ENGINE=InnoDB',
        'ALTER TABLE orders ADD COLUMN IF NOT EXISTS buyer_id BIGINT UNSIGNED NULL',
        Migrations::pointOfNoReturn(),
        'INSERT IGNORE INTO buyers (email, since) SELECT email, MIN(placed_at) FROM orders GROUP BY email',
        'UPDATE orders JOIN buyers ON buyers.email = orders.email SET orders.buyer_id = buyers.id WHERE orders.buyer_id IS NULL',
        'ALTER TABLE orders
            MODIFY COLUMN buyer_id BIGINT UNSIGNED NOT NULL,
            RENAME COLUMN IF EXISTS name TO ship_name,
            RENAME COLUMN IF EXISTS street TO ship_street,
            RENAME COLUMN IF EXISTS postcode TO ship_postcode,
            RENAME COLUMN IF EXISTS city TO ship_city,
            RENAME COLUMN IF EXISTS country TO ship_country',
    ],
];
