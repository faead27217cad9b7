<header class="intro desk">
  <div><h1>Orders</h1><p><span data-test="order-count"><?= $e($totals['orders']) ?></span> orders, <?= $e($money($totals['revenue_minor'], $currency)) ?> in all</p></div>
  <form action="/admin/logout" method="post"><input type="hidden" name="csrf" value="<?= $e($csrf) ?>"><button class="quiet" type="submit" data-test="admin-logout">Log out</button></form>
</header>
<?php if ($orders === []): ?>
  <p data-test="no-orders">No orders<?= $page > 1 ? ' on this page' : ' yet' ?>.</p>
<?php else: ?>
<table class="lines">
  <thead><tr><th scope="col">Number</th><th scope="col">Placed (UTC)</th><th scope="col">Buyer</th><th scope="col" class="num">Pieces</th><th scope="col" class="num">Total</th></tr></thead>
  <tbody><?php foreach ($orders as $o): ?>
    <tr data-test="order-row"><td><a class="number" href="/admin/orders/<?= $e($o['number']) ?>"><?= $e($o['number']) ?></a></td><td><?= $e($o['placed_at']) ?></td><td><?= $e($o['name']) ?></td><td class="num"><?= $e($o['pieces']) ?></td><td class="num"><?= $e($money((int) $o['total_minor'], (string) $o['currency'])) ?></td></tr>
  <?php endforeach ?></tbody>
</table>
<?php endif ?>
<nav class="pages" aria-label="Pages">
  <?php if ($page > 1): ?><a href="/admin?page=<?= $e($page - 1) ?>">Newer</a><?php endif ?>
  <?php if (count($orders) === $per_page): ?><a href="/admin?page=<?= $e($page + 1) ?>">Older</a><?php endif ?>
</nav>
