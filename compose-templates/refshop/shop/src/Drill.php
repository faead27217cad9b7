<?php
// Faults on purpose, for trying out what happens when a bad release is shipped. The environment's SHOP_DRILL names one; two of them,
// `crash` and `never-ready`, are the container's and live in its entrypoint.
declare(strict_types=1);

namespace Shop;

final class Drill
{
    private const KNOWN = ['none', 'errors', 'slow', 'sick', 'crash', 'never-ready'];
    // One page in five fails.
    private const ERRORS_ONE_IN = 5;
    private const SLOW_MICROSECONDS = 1_500_000;
    // After any switch of traffic has been made, and well inside the minute that is watched after it.
    private const SICK_AFTER_SECONDS = 12;

    public static function named(string $name): string
    {
        if (!in_array($name, self::KNOWN, true)) {
            throw new Misconfigured("SHOP_DRILL is '$name', but only " . implode(', ', self::KNOWN) . ' are known');
        }
        return $name;
    }

    /** The deep check fails, while every page works. The entrypoint says when php-fpm started. */
    public static function health(string $name, int $now): void
    {
        if ($name === 'sick' && $now - (int) getenv('SHOP_STARTED') >= self::SICK_AFTER_SECONDS) {
            throw new \RuntimeException('drill: this check fails on purpose');
        }
    }

    /** Before anything is done for a buyer's page: the health check and the order desk are spared, as in a bad release that looks well. */
    public static function page(string $name, string $path): void
    {
        if (str_starts_with($path, '/admin')) {
            return;
        }
        match ($name) {
            'errors' => random_int(1, self::ERRORS_ONE_IN) === 1 ? throw new \RuntimeException('drill: this page fails on purpose') : null,
            'slow' => usleep(self::SLOW_MICROSECONDS),
            default => null,
        };
    }
}
