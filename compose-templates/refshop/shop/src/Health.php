<?php
// The deep check: one cheap, real question to every tier. Healthy means that a buyer could order now.
declare(strict_types=1);

namespace Shop;

final class Health
{
    public function __construct(private readonly Services $services)
    {
    }

    /** @return array{status: string, release: string, schema: int, tiers: array<string, array{ok: bool, ms: float, error?: string}>} */
    public function check(): array
    {
        $tiers = [
            'app' => $this->time(function (): void {
                Config::secret('app_key');
                Config::secret('admin_password');
                Drill::health($this->services->config->drill, time());
            }),
            'db' => $this->time(function (): void {
                Migrations::check($this->services->db());
                if ($this->services->db()->value("SELECT value FROM settings WHERE name = 'catalogue'") === null) {
                    throw new \RuntimeException('the shop is not installed yet');
                }
            }),
            'cache' => $this->time(function (): void {
                // A write: a full cache still answers PING, but keeps no cart.
                $this->services->redis()->setex('health', 60, (string) time());
            }),
        ];
        if ($this->services->config->sphinx) {
            $tiers['search'] = $this->time(function () use ($tiers): void {
                (new Sphinx())->count();
                // One that was killed comes back empty, and is filled here.
                if ($tiers['db']['ok']) {
                    $this->services->search()->heal();
                }
            });
        }
        $ok = !in_array(false, array_column($tiers, 'ok'), true);
        return ['status' => $ok ? 'ok' : 'failing', 'release' => Release::VERSION, 'schema' => Release::SCHEMA, 'tiers' => $tiers];
    }

    /** @return array{ok: bool, ms: float, error?: string} */
    private function time(callable $check): array
    {
        $start = hrtime(true);
        try {
            $check();
            return ['ok' => true, 'ms' => self::since($start)];
        } catch (\Throwable $e) {
            // Messages of drivers may carry addresses and names: only our own words go out.
            $known = $e instanceof TierDown || $e instanceof Misconfigured || get_class($e) === \RuntimeException::class;
            error_log('health: ' . $e->getMessage());
            return ['ok' => false, 'ms' => self::since($start), 'error' => $known ? $e->getMessage() : 'the check failed; see the log'];
        }
    }

    private static function since(int $start): float
    {
        return round((hrtime(true) - $start) / 1e6, 1);
    }
}
