<?php
// WordPress's settings in a Shopfleet store: secrets from files, addresses from the request, code from the image or a volume.
declare(strict_types=1);

require_once __DIR__ . '/shopfleet.php';

use function Shopfleet\secret;

define('DB_HOST', 'db');
define('DB_NAME', 'wordpress');
define('DB_USER', 'wordpress');
define('DB_PASSWORD', secret('db_password'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = 'wp_';

foreach (['AUTH_KEY', 'SECURE_AUTH_KEY', 'LOGGED_IN_KEY', 'NONCE_KEY', 'AUTH_SALT', 'SECURE_AUTH_SALT', 'LOGGED_IN_SALT', 'NONCE_SALT'] as $key) {
    define($key, hash_hmac('sha256', $key, secret('app_key')));
}

// The shop answers under whatever name the edge routed to it; the edge routes verified names only.
if (($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https') {
    $_SERVER['HTTPS'] = 'on';
}
$host = $_SERVER['HTTP_HOST'] ?? 'localhost';
if (preg_match('/^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$/', $host) !== 1) {
    $host = 'localhost';
}
define('WP_HOME', (($_SERVER['HTTPS'] ?? '') === 'on' ? 'https' : 'http') . "://$host");
define('WP_SITEURL', WP_HOME);

define('WP_CONTENT_URL', WP_HOME . Shopfleet\CONTENT_PATH[Shopfleet\code()]);
define('WP_CONTENT_DIR', __DIR__ . Shopfleet\CONTENT_PATH[Shopfleet\code()]);
if (Shopfleet\code() === 'image') {
    // Code comes with the image alone; what people upload goes to the volume.
    define('UPLOADS', 'content/uploads');
    define('DISALLOW_FILE_MODS', true);
    define('WP_HTTP_BLOCK_EXTERNAL', true);
}
define('WPMU_PLUGIN_DIR', __DIR__ . '/mu-plugins');
define('WPMU_PLUGIN_URL', WP_HOME . '/mu-plugins');
define('FS_METHOD', 'direct');
define('WP_TEMP_DIR', '/tmp');
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_AUTO_UPDATE_CORE', false);
// Scheduled work is a task of the store, not of a buyer's request.
define('DISABLE_WP_CRON', true);
define('WP_DEBUG', false);

if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
