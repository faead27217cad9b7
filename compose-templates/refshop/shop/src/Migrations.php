<?php
// The schema, step by step, from migrations/<version>.php. Each step can be run again after a crash half-way; none is ever changed
// once released. The database says itself which code works on it: `works_from` is the oldest schema whose code does.
declare(strict_types=1);

namespace Shop;

final class Migrations
{
    private const FITS = "SELECT (SELECT COALESCE(MAX(version), 0) FROM migrations) AS at,
        (SELECT CAST(COALESCE(MAX(value), '1') AS UNSIGNED) FROM settings WHERE name = 'schema_works_from') AS works_from";

    // A statement that changes a table waits for every transaction on it, and all later ones wait behind it: buyers, if the shop is open.
    // So it gives way soon, and comes again.
    private const LOCK_SECONDS = 1;
    private const LOCK_TRIES = 60;
    private const LOCK_PAUSE_MICROSECONDS = 300_000;

    /** Throws when this code does not work on the database as it is. */
    public static function check(Db $db): void
    {
        $schema = $db->row(self::FITS);
        $own = Release::SCHEMA;
        if ($schema['at'] < $own) {
            throw new \RuntimeException("the schema is at {$schema['at']}, and this shop needs $own");
        }
        if ($schema['works_from'] > max($own, $schema['at'])) {
            throw new \RuntimeException("the schema is between {$schema['at']} and {$schema['works_from']}: a migration has begun and not ended");
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
        $db->run('SET SESSION lock_wait_timeout = ' . self::LOCK_SECONDS);
        for ($version = $at + 1; $version <= Release::SCHEMA; $version++) {
            $migration = require sprintf('%s/../migrations/%03d.php', __DIR__, $version);
            foreach ($migration['steps'] as $step) {
                self::run($db, is_string($step) ? static fn () => $db->run($step) : static fn () => $step($db, $version, $migration['works_from']));
            }
            $db->run('INSERT INTO migrations (version, applied_at) VALUES (?, UTC_TIMESTAMP())', [$version]);
            $applied[] = $version;
        }
        self::check($db);
        return $applied;
    }

    private static function run(Db $db, callable $step): void
    {
        for ($try = 1;; $try++) {
            try {
                $step();
                return;
            } catch (\PDOException $e) {
                if (!Db::isLockTimeout($e) || $try === self::LOCK_TRIES) {
                    throw $e;
                }
                usleep(self::LOCK_PAUSE_MICROSECONDS);
            }
        }
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
