<?php
// The store's tasks: filling the code volume, installing WordPress once, upgrading its schema, scheduled work.
declare(strict_types=1);

namespace Shopfleet;

function install(): string
{
    $link = database(120);
    if ($link->query("SELECT GET_LOCK('shop-install', 60)")->fetch_row()[0] !== '1') {
        throw new \RuntimeException('another install is running');
    }
    $filled = fill_volume();
    // Our own note, made before WordPress's first table: it tells an install that was cut off half-way,
    // which is done again from the start, from tables that somebody else brought, which are never touched.
    $link->query('CREATE TABLE IF NOT EXISTS shopfleet_install (id INT NOT NULL PRIMARY KEY, state VARCHAR(10) NOT NULL)');
    $state = $link->query('SELECT state FROM shopfleet_install WHERE id = 1')->fetch_row()[0] ?? 'new';
    if ($state === 'done') {
        return "WordPress was installed, $filled";
    }
    $tables = array_column($link->query("SHOW TABLES LIKE 'wp\\_%'")->fetch_all(), 0);
    if ($state === 'new' && $tables !== []) {
        $link->query("INSERT INTO shopfleet_install VALUES (1, 'done')");
        return "found a WordPress and left it as it is, $filled";
    }
    $link->query("REPLACE INTO shopfleet_install VALUES (1, 'started')");
    foreach ($tables as $table) {
        $link->query("DROP TABLE `$table`");
    }
    write_wordpress();
    $link->query("REPLACE INTO shopfleet_install VALUES (1, 'done')");
    return "WordPress is installed, $filled";
}

function migrate(): string
{
    $filled = fill_volume();
    load_wordpress();
    require_once ABSPATH . 'wp-admin/includes/upgrade.php';
    $from = get_option('db_version');
    wp_upgrade();
    return "schema $from → " . get_option('db_version') . ", $filled";
}

function cron(): string
{
    define('DOING_CRON', true);
    load_wordpress();
    $due = array_filter(_get_cron_array(), static fn ($at) => $at <= time(), ARRAY_FILTER_USE_KEY);
    $done = 0;
    foreach ($due as $at => $hooks) {
        foreach ($hooks as $hook => $events) {
            foreach ($events as $event) {
                if ($event['schedule']) {
                    wp_reschedule_event($at, $event['schedule'], $hook, $event['args']);
                }
                wp_unschedule_event($at, $hook, $event['args']);
                do_action_ref_array($hook, $event['args']);
                $done++;
            }
        }
    }
    return "$done scheduled events";
}

function flush(): string
{
    load_wordpress();
    wp_cache_flush();
    delete_expired_transients(true);
    return 'caches are empty';
}

/**
 * With code=volume: copies the image's plugins and themes to the volume, each beside its place first and then renamed;
 * the marker comes last. What is there already is the shop's own and stays.
 */
function fill_volume(): string
{
    if (code() === 'image') {
        return 'code is in the image';
    }
    if (is_file(ROOT . MARKER)) {
        return 'code was on the volume';
    }
    foreach (['plugins', 'themes', 'languages', 'index.php', 'db-error.php'] as $name) {
        $from = ROOT . "/wp-content/$name";
        $to = ROOT . "/content/$name";
        if (!file_exists($from) || file_exists($to)) {
            continue;
        }
        $part = ROOT . "/content/.part-$name";
        remove($part);
        copy_whole($from, $part);
        rename($part, $to);
    }
    put(ROOT . MARKER, "1\n");
    return 'code copied to the volume';
}

function copy_whole(string $from, string $to): void
{
    if (!is_dir($from)) {
        put($to, (string) file_get_contents($from));
        return;
    }
    mkdir($to);
    foreach (array_diff(scandir($from), ['.', '..']) as $name) {
        copy_whole("$from/$name", "$to/$name");
    }
}

function put(string $path, string $content): void
{
    $file = fopen($path, 'wb');
    if ($file === false || fwrite($file, $content) !== strlen($content) || !fsync($file)) {
        throw new \RuntimeException("$path could not be written");
    }
    fclose($file);
}

function remove(string $path): void
{
    if (!is_dir($path)) {
        @unlink($path);
        return;
    }
    foreach (array_diff(scandir($path), ['.', '..']) as $name) {
        remove("$path/$name");
    }
    rmdir($path);
}

function load_wordpress(): void
{
    require_once ROOT . '/wp-load.php';
}

function write_wordpress(): void
{
    define('WP_INSTALLING', true);
    load_wordpress();
    require_once ABSPATH . 'wp-admin/includes/upgrade.php';
    // Readable addresses from the start: WordPress would try them out over HTTP, and there is no web server here.
    $pretty = static fn () => '/%postname%/';
    add_filter('pre_option_permalink_structure', $pretty);
    // No letter about the new site: there may be no mail server, and the address may be the default.
    add_filter('pre_wp_mail', '__return_false');
    add_filter('pre_http_request', static fn () => new \WP_Error('install', 'no requests while installing'));
    $result = wp_install(
        getenv('SHOP_NAME') ?: 'WordPress',
        'admin',
        getenv('ADMIN_EMAIL') ?: 'admin@example.com',
        false,
        '',
        secret('admin_password'),
        '',
    );
    if (empty($result['user_id'])) {
        throw new \RuntimeException('WordPress could not make its first user');
    }
    remove_filter('pre_option_permalink_structure', $pretty);
    update_option('permalink_structure', '/%postname%/');
    update_option('blog_public', '1');
}
