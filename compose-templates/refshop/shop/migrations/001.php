<?php
// Release 1: the shop as it began.
declare(strict_types=1);

return [
    'works_from' => 1,
    'steps' => [
        'CREATE TABLE IF NOT EXISTS categories (
            id INT UNSIGNED NOT NULL PRIMARY KEY,
            slug VARCHAR(60) NOT NULL UNIQUE,
            title VARCHAR(80) NOT NULL,
            blurb VARCHAR(255) NOT NULL,
            picture VARCHAR(80) NOT NULL,
            position INT UNSIGNED NOT NULL
        ) ENGINE=InnoDB',
        'CREATE TABLE IF NOT EXISTS products (
            id INT UNSIGNED NOT NULL PRIMARY KEY,
            category_id INT UNSIGNED NOT NULL,
            slug VARCHAR(80) NOT NULL UNIQUE,
            title VARCHAR(120) NOT NULL,
            description TEXT NOT NULL,
            price_minor INT UNSIGNED NOT NULL,
            currency CHAR(3) NOT NULL,
            stock INT UNSIGNED NOT NULL,
            featured TINYINT(1) NOT NULL DEFAULT 0,
            picture VARCHAR(80) NOT NULL,
            KEY by_category (category_id),
            CONSTRAINT product_category FOREIGN KEY (category_id) REFERENCES categories (id)
        ) ENGINE=InnoDB',
        "CREATE TABLE IF NOT EXISTS orders (
            id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            number VARCHAR(16) NOT NULL UNIQUE,
            checkout_token CHAR(64) CHARACTER SET ascii NOT NULL UNIQUE,
            name VARCHAR(120) NOT NULL,
            email VARCHAR(190) NOT NULL,
            street VARCHAR(160) NOT NULL,
            postcode VARCHAR(20) NOT NULL,
            city VARCHAR(100) NOT NULL,
            country CHAR(2) NOT NULL,
            currency CHAR(3) NOT NULL,
            items_minor BIGINT UNSIGNED NOT NULL,
            shipping_minor BIGINT UNSIGNED NOT NULL,
            total_minor BIGINT UNSIGNED NOT NULL,
            placed_at DATETIME NOT NULL
        ) ENGINE=InnoDB",
        'CREATE TABLE IF NOT EXISTS order_lines (
            order_id BIGINT UNSIGNED NOT NULL,
            product_id INT UNSIGNED NOT NULL,
            title VARCHAR(120) NOT NULL,
            unit_minor INT UNSIGNED NOT NULL,
            quantity INT UNSIGNED NOT NULL,
            line_minor BIGINT UNSIGNED NOT NULL,
            PRIMARY KEY (order_id, product_id),
            CONSTRAINT line_order FOREIGN KEY (order_id) REFERENCES orders (id)
        ) ENGINE=InnoDB',
        'CREATE TABLE IF NOT EXISTS settings (
            name VARCHAR(60) NOT NULL PRIMARY KEY,
            value VARCHAR(255) NOT NULL
        ) ENGINE=InnoDB',
    ],
];
