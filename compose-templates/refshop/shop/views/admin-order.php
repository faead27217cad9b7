<nav class="crumbs" aria-label="Where you are"><a href="/admin">Orders</a></nav>
<header class="intro"><h1>Order <span class="number" data-test="order-number"><?= $e($order['number']) ?></span></h1><p>Placed <?= $e($order['placed_at']) ?> UTC</p></header>
<div class="split">
  <div><?= \Shop\View::fill('order-lines', get_defined_vars()) ?></div>
  <aside class="card">
    <h2>Buyer</h2>
    <address><?= $e($order['name']) ?><br><?= $e($order['street']) ?><br><?= $e($order['postcode']) ?> <?= $e($order['city']) ?><br><?= $e($order['country']) ?></address>
    <p><?= $e($order['email']) ?></p>
    <?= \Shop\View::fill('order-more', get_defined_vars()) ?>
  </aside>
</div>
