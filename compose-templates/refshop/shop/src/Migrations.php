<?php
// The schema, step by step, from migrations/<version>.php. Each step can be run again after a crash half-way; none is ever changed
// once released. The database says itself which code works on it: `works_from` is the oldest schema whose code does.
declare(strict_types=1);

namespace Shop;

final class Migrations
{
    private const FITS = "SELECT (SELECT COALESCE(MAX(version), 0) FROM migrations) AS at,
        (SELECT CAST(COALESCE(MAX(value), '1') AS UNSIGNED) FROM settings WHERE name = 'schema_works_from') AS works_from";

    /** Throws when this code does not work on the database as it is. */
    public static function check(Db $db): void
    {
        $schema = $db->row(self::FITS);
        $own = Release::SCHEMA;
        if ($schema['at'] < $own) {
            throw new \RuntimeException("the schema is at {$schema['at']}, and this shop needs $own");
        }
        if ($schema['works_from'] > $own) {
            throw new \RuntimeException("the schema is at {$schema['at']}, on which a shop of schema $own does not work");
        }
    }

    /** Brings the schema up; returns the versions it applied. One on which this code does not work is refused. @return list<int> */
    public static function apply(Db $db): array
    {
        $db->run('CREATE TABLE IF NOT EXISTS migrations (version INT UNSIGNED NOT NULL PRIMARY KEY, applied_at DATETIME NOT NULL) ENGINE=InnoDB');
        $at = (int) $db->value('SELECT COALESCE(MAX(version), 0) FROM migrations');
        $applied = [];
        for ($version = $at + 1; $version <= Release::SCHEMA; $version++) {
            $migration = require sprintf('%s/../migrations/%03d.php', __DIR__, $version);
            foreach ($migration['steps'] as $step) {
                is_string($step) ? $db->run($step) : $step($db, $version, $migration['works_from']);
            }
            $db->run('INSERT INTO migrations (version, applied_at) VALUES (?, UTC_TIMESTAMP())', [$version]);
            $applied[] = $version;
        }
        self::check($db);
        return $applied;
    }

    /** A migration's step from which older code does not work any more: said before it is done, so that a crash between leaves it said. */
    public static function pointOfNoReturn(): callable
    {
        return static function (Db $db, int $version, int $worksFrom): void {
            $db->run("INSERT INTO settings (name, value) VALUES ('schema_works_from', ?)
                ON DUPLICATE KEY UPDATE value = GREATEST(CAST(value AS UNSIGNED), VALUES(value))", [(string) $worksFrom]);
        };
    }
}
