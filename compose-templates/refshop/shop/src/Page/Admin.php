<?php
// The order desk of the shop's owner.
declare(strict_types=1);

namespace Shop\Page;

use Shop\Config;
use Shop\Context;
use Shop\Response;

final class Admin
{
    private const PAGE = 50;
    private const TRIES = 20;
    private const TRIES_SECONDS = 600;

    public function __construct(private readonly Context $context)
    {
    }

    public function orders(): Response
    {
        if (!$this->context->session->isAdmin()) {
            return $this->loginForm();
        }
        $page = $this->context->number('page', 1, 100000) ?? 1;
        $orders = $this->context->services->orders();
        return $this->context->view()->page('admin-orders', 'Orders', [
            'orders' => $orders->latest(self::PAGE, ($page - 1) * self::PAGE),
            'totals' => $orders->totals(),
            'page' => $page,
            'per_page' => self::PAGE,
            'currency' => $this->context->services->config->currency,
        ]);
    }

    public function order(string $number): Response
    {
        if (!$this->context->session->isAdmin()) {
            return Response::seeOther('/admin');
        }
        $orders = $this->context->services->orders();
        $order = $orders->find($number);
        if ($order === null) {
            return $this->context->notFound();
        }
        return $this->context->view()->page('admin-order', "Order $number", ['order' => $order, 'lines' => $orders->lines((int) $order['id'])]);
    }

    public function login(): Response
    {
        $email = $this->context->field('email', 190);
        $tries = 'login-failures:' . hash('sha256', $_SERVER['REMOTE_ADDR'] ?? '');
        $redis = $this->context->services->redis();
        if ((int) $redis->get($tries) >= self::TRIES) {
            return $this->loginForm('Too many attempts. Please wait ten minutes.', 429);
        }
        $password = is_string($_POST['password'] ?? null) ? $_POST['password'] : '';
        // Both are always compared, so the time taken tells neither.
        $emailFits = hash_equals(mb_strtolower($this->context->services->config->adminEmail), mb_strtolower($email));
        $passwordFits = hash_equals(Config::secret('admin_password'), $password);
        if (!$emailFits || !$passwordFits) {
            if ($redis->incr($tries) === 1) {
                $redis->expire($tries, self::TRIES_SECONDS);
            }
            return $this->loginForm('E-mail address or password is not right.', 401);
        }
        $this->context->session->becomeAdmin();
        return Response::seeOther('/admin');
    }

    public function logout(): Response
    {
        $this->context->session->leaveAdmin();
        return Response::seeOther('/admin');
    }

    private function loginForm(string $error = '', int $status = 200): Response
    {
        return $this->context->view()->page('admin-login', 'Order desk', ['error' => $error, 'email' => $this->context->field('email', 190)], $status);
    }
}
