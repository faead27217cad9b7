<?php
// The deep check: every tier answers a real question. WordPress itself is not loaded: this must be cheap and quick.
declare(strict_types=1);

require __DIR__ . '/shopfleet.php';

$checks = [
    'app' => static function (): void {
        Shopfleet\secret('app_key');
        if (Shopfleet\code() === 'volume' && !is_file(__DIR__ . Shopfleet\MARKER)) {
            throw new RuntimeException('plugins and themes are not on the volume yet');
        }
        if (!is_writable(__DIR__ . '/content')) {
            throw new RuntimeException('the volume for uploads cannot be written');
        }
    },
    'db' => static function (): void {
        $state = Shopfleet\database(2)->query("SELECT state FROM shopfleet_install WHERE id = 1")->fetch_row();
        if (($state[0] ?? '') !== 'done') {
            throw new RuntimeException('WordPress is not installed yet');
        }
    },
];

$tiers = [];
foreach ($checks as $tier => $check) {
    $start = hrtime(true);
    try {
        $check();
        $result = ['ok' => true];
    } catch (Throwable $e) {
        error_log("health: $tier: {$e->getMessage()}");
        // Messages of drivers may carry addresses and names: only our own words go out.
        $result = ['ok' => false, 'error' => get_class($e) === RuntimeException::class ? $e->getMessage() : 'does not answer'];
    }
    $tiers[$tier] = $result + ['ms' => round((hrtime(true) - $start) / 1e6, 1)];
}
$ok = !in_array(false, array_column($tiers, 'ok'), true);
http_response_code($ok ? 200 : 503);
header('Content-Type: application/json');
header('Cache-Control: no-store');
echo json_encode(['status' => $ok ? 'ok' : 'failing', 'tiers' => $tiers]), "\n";
