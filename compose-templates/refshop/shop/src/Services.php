<?php
// What a page or task may use; each connection is made when it is first needed.
declare(strict_types=1);

namespace Shop;

final class Services
{
    private ?Db $db = null;
    private ?\Redis $redis = null;

    public function __construct(public readonly Config $config)
    {
    }

    public function db(): Db
    {
        return $this->db ??= Db::connect(Config::secret('db_password'));
    }

    public function redis(): \Redis
    {
        return $this->redis ??= self::connectRedis();
    }

    public function catalogue(): Catalogue
    {
        return new Catalogue($this->db());
    }

    public function search(): Search
    {
        return new Search($this->catalogue(), $this->config->sphinx ? new Sphinx() : null);
    }

    public function orders(): Orders
    {
        return new Orders($this->db());
    }

    public function money(): Money
    {
        return new Money($this->config->locale);
    }

    /** Proof that this shop made a text for a purpose: for CSRF tokens, checkout tokens and order links. */
    public static function seal(string $purpose, string $text): string
    {
        return hash_hmac('sha256', "$purpose\n$text", Config::secret('app_key'));
    }

    private static function connectRedis(): \Redis
    {
        $redis = new \Redis();
        try {
            $redis->connect('cache', 6379, 2.0, null, 0, 2.0);
            $redis->auth(Config::secret('cache_password'));
        } catch (\RedisException | \ErrorException $e) {
            throw new TierDown('cache', $e);
        }
        return $redis;
    }
}
