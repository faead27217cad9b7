<header class="intro">
  <h1>Thank you, <?= $e($order['name']) ?>.</h1>
  <p>Your order <strong class="number" data-test="order-number"><?= $e($order['number']) ?></strong> is with us. It leaves the workshop within two working days.</p>
</header>
<div class="split">
  <div><?= \Shop\View::fill('order-lines', get_defined_vars()) ?></div>
  <aside class="card">
    <h2>It goes to</h2>
    <address><?= $e($order['name']) ?><br><?= $e($order['street']) ?><br><?= $e($order['postcode']) ?> <?= $e($order['city']) ?><br><?= $e($countries[$order['country']] ?? $order['country']) ?></address>
    <?= \Shop\View::fill('order-more', get_defined_vars()) ?>
    <a class="button full" href="/">Back to the shop</a>
  </aside>
</div>
