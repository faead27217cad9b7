<?php
// Names of static files: they carry a hash of their content, so browsers may keep them for ever.
declare(strict_types=1);

namespace Shop;

final class Assets
{
    /** @var array<string, string>|null */
    private static ?array $names = null;

    public static function url(string $name): string
    {
        self::$names ??= require __DIR__ . '/../assets/manifest.php';
        return '/assets/' . (self::$names[$name] ?? $name);
    }
}
