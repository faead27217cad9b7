<?php
// From a request to a page: the table of routes, and what happens when something fails.
declare(strict_types=1);

namespace Shop;

use Shop\Page\Admin;
use Shop\Page\Browse;
use Shop\Page\Buy;

final class Kernel
{
    // A database that is frozen rather than gone must not hold a page; a page's lock waits are shorter than this.
    private const PAGE_DB_SECONDS = 8;
    private const HEALTH_DB_SECONDS = 2;

    private const ROUTES = [
        'GET /' => [Browse::class, 'home'],
        'GET /c/([a-z0-9-]+)' => [Browse::class, 'category'],
        'GET /p/([a-z0-9-]+)' => [Browse::class, 'product'],
        'GET /search' => [Browse::class, 'search'],
        'GET /cart' => [Buy::class, 'cart'],
        'POST /cart/add' => [Buy::class, 'add'],
        'POST /cart/update' => [Buy::class, 'update'],
        'GET /checkout' => [Buy::class, 'checkout'],
        'POST /checkout' => [Buy::class, 'place'],
        'GET /order/([A-Z0-9-]+)/([0-9a-f]{32})' => [Buy::class, 'confirmation'],
        'GET /admin' => [Admin::class, 'orders'],
        'GET /admin/orders/([A-Z0-9-]+)' => [Admin::class, 'order'],
        'POST /admin/login' => [Admin::class, 'login'],
        'POST /admin/logout' => [Admin::class, 'logout'],
    ];

    public static function answer(): Response
    {
        $id = bin2hex(random_bytes(4));
        try {
            $services = new Services(Config::fromEnvironment());
            $path = rtrim((string) parse_url($_SERVER['REQUEST_URI'] ?? '/', PHP_URL_PATH), '/') ?: '/';
            ini_set('mysqlnd.net_read_timeout', (string) ($path === '/health' ? self::HEALTH_DB_SECONDS : self::PAGE_DB_SECONDS));
            if ($path === '/health') {
                $health = (new Health($services))->check();
                return Response::json($health, $health['status'] === 'ok' ? 200 : 503);
            }
            Drill::page($services->config->drill, $path);
            return self::route($services, $path);
        } catch (TierDown $e) {
            error_log("request $id: {$e->getMessage()}: " . $e->getPrevious()?->getMessage());
            return Response::html(View::fill('away', ['id' => $id]), 503)->with('Retry-After', '5');
        } catch (\Throwable $e) {
            error_log("request $id: " . get_class($e) . ": {$e->getMessage()} in {$e->getFile()}:{$e->getLine()}");
            return Response::html(View::fill('broken', ['id' => $id]), 500);
        }
    }

    private static function route(Services $services, string $path): Response
    {
        $method = ($_SERVER['REQUEST_METHOD'] ?? 'GET') === 'HEAD' ? 'GET' : ($_SERVER['REQUEST_METHOD'] ?? 'GET');
        $context = Context::open($services);
        foreach (self::ROUTES as $route => [$page, $action]) {
            if (preg_match("#^$route\$#", "$method $path", $found) === 1) {
                if ($method === 'POST' && !$context->csrfHolds()) {
                    return $context->view()->page('message', 'Please try again', [
                        'heading' => 'This form has expired',
                        'text' => 'Your visit was renewed in the meantime. Go back, reload the page and send it again.',
                    ], 403);
                }
                return (new $page($context))->$action(...array_slice($found, 1));
            }
        }
        return $context->notFound();
    }
}
