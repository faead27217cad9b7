<?php
// A buyer's session: a random id in a cookie, its content in the cache under the id's hash.
// Nothing is written to the cache for somebody who only looks.
declare(strict_types=1);

namespace Shop;

final class Session
{
    private const COOKIE = 'shop_session';
    private const SECONDS = 14 * 86400;
    private const ADMIN_SECONDS = 8 * 3600;
    public const MAX_QUANTITY = 99;

    private function __construct(private readonly Services $services, private string $id)
    {
    }

    public static function open(Services $services): self
    {
        $id = $_COOKIE[self::COOKIE] ?? '';
        if (!is_string($id) || preg_match('/^[0-9a-f]{64}$/', $id) !== 1) {
            $session = new self($services, '');
            $session->renew();
            return $session;
        }
        return new self($services, $id);
    }

    /** For the forms of this session; it cannot be made without the shop's key. */
    public function csrf(): string
    {
        return Services::seal('csrf', $this->id);
    }

    /** A token that makes one order at most, good for this session only. */
    public function newCheckoutToken(): string
    {
        $nonce = bin2hex(random_bytes(16));
        return $nonce . substr(Services::seal('checkout', $this->id . $nonce), 0, 32);
    }

    public function ownsCheckoutToken(string $token): bool
    {
        $nonce = substr($token, 0, 32);
        return hash_equals($nonce . substr(Services::seal('checkout', $this->id . $nonce), 0, 32), $token);
    }

    /** @return array<int, int> product id → quantity */
    public function cart(): array
    {
        $cart = [];
        foreach ($this->guard(fn (\Redis $r) => $r->hGetAll($this->key('cart'))) ?: [] as $id => $quantity) {
            $cart[(int) $id] = min(self::MAX_QUANTITY, (int) $quantity);
        }
        ksort($cart);
        return $cart;
    }

    public function addToCart(int $productId, int $quantity): void
    {
        $this->guard(function (\Redis $r) use ($productId, $quantity): void {
            $r->hIncrBy($this->key('cart'), (string) $productId, $quantity);
            $r->expire($this->key('cart'), self::SECONDS);
        });
    }

    public function setInCart(int $productId, int $quantity): void
    {
        $this->guard(fn (\Redis $r) => $quantity > 0
            ? $r->hSet($this->key('cart'), (string) $productId, (string) $quantity)
            : $r->hDel($this->key('cart'), (string) $productId));
    }

    public function emptyCart(): void
    {
        $this->guard(fn (\Redis $r) => $r->del($this->key('cart')));
    }

    public function isAdmin(): bool
    {
        return isset($_COOKIE[self::COOKIE]) && $this->guard(fn (\Redis $r) => $r->exists($this->key('admin'))) === 1;
    }

    /** The id changes with the rights, so one that somebody planted earlier is worth nothing. */
    public function becomeAdmin(): void
    {
        $this->renew();
        $this->guard(fn (\Redis $r) => $r->setex($this->key('admin'), self::ADMIN_SECONDS, '1'));
    }

    public function leaveAdmin(): void
    {
        $this->guard(fn (\Redis $r) => $r->del($this->key('admin')));
        $this->renew();
    }

    private function renew(): void
    {
        $this->id = bin2hex(random_bytes(32));
        setcookie(self::COOKIE, $this->id, [
            'expires' => time() + self::SECONDS,
            'path' => '/',
            'httponly' => true,
            'samesite' => 'Lax',
            'secure' => ($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https',
        ]);
    }

    private function key(string $kind): string
    {
        return "$kind:" . hash('sha256', $this->id);
    }

    /**
     * @template T
     * @param callable(\Redis): T $work
     * @return T
     */
    private function guard(callable $work): mixed
    {
        try {
            return $work($this->services->redis());
        } catch (\RedisException $e) {
            throw new TierDown('cache', $e);
        }
    }
}
