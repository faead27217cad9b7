<?php
// Settings from the environment, secrets from files: what differs between two shops of the same image.
declare(strict_types=1);

namespace Shop;

final class Config
{
    public const SECRETS = '/run/secrets';

    public function __construct(
        public readonly string $shopName,
        public readonly string $adminEmail,
        public readonly string $currency,
        public readonly string $locale,
        public readonly bool $sphinx,
        public readonly string $drill,
    ) {
    }

    public static function fromEnvironment(): self
    {
        $search = self::env('SHOP_SEARCH', 'sphinx');
        if (!in_array($search, ['sphinx', 'none'], true)) {
            throw new Misconfigured("SHOP_SEARCH is '$search', but only 'sphinx' and 'none' are known");
        }
        $currency = self::env('SHOP_CURRENCY', 'EUR');
        if (preg_match('/^[A-Z]{3}$/', $currency) !== 1) {
            throw new Misconfigured("SHOP_CURRENCY is '$currency', which is no ISO 4217 code");
        }
        return new self(
            self::env('SHOP_NAME', 'Refshop'),
            self::env('ADMIN_EMAIL', 'admin@example.com'),
            $currency,
            self::env('SHOP_LOCALE', 'en-GB'),
            $search === 'sphinx',
            Drill::named(self::env('SHOP_DRILL', 'none')),
        );
    }

    /** The secret's value, read at each use: a rotated one counts at once and none stays in memory longer than needed. */
    public static function secret(string $name): string
    {
        $file = self::SECRETS . '/' . $name;
        $value = is_readable($file) ? trim((string) file_get_contents($file)) : '';
        if ($value === '') {
            throw new Misconfigured("secret $file is missing, empty or unreadable");
        }
        return $value;
    }

    private static function env(string $name, string $default): string
    {
        $value = getenv($name);
        return $value === false || $value === '' ? $default : $value;
    }
}
