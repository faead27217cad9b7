<?php
// Release 2: a note with an order. It only adds: the code of release 1 names no column that changes,
// and what it writes gets the defaults.
declare(strict_types=1);

return [
    'works_from' => 1,
    'steps' => [
        "ALTER TABLE orders ADD COLUMN IF NOT EXISTS note VARCHAR(200) NOT NULL DEFAULT ''",
    ],
];
