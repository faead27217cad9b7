<?php
// WordPress as a guest of Shopfleet: its core comes with the image, so it does not look for core updates.

add_filter('pre_site_transient_update_core', static fn () => (object) [
    'updates' => [],
    'version_checked' => get_bloginfo('version'),
    'last_checked' => time(),
]);
remove_action('wp_version_check', 'wp_version_check');
remove_action('admin_init', '_maybe_update_core');
add_filter('site_status_tests', static function (array $tests): array {
    unset($tests['async']['background_updates'], $tests['async']['loopback_requests'], $tests['direct']['scheduled_events']);
    return $tests;
});
