<header class="intro"><h1>Your cart</h1></header>
<?php if (isset($sold_out)): ?>
  <p class="notice" role="alert" data-test="sold-out">
    <?php if ($sold_out->left === 0): ?>We are sorry: somebody was quicker, and <strong><?= $e($sold_out->title) ?></strong> is sold out now. Please take it out of your cart; nothing was ordered or charged.
    <?php else: ?>We are sorry: of <strong><?= $e($sold_out->title) ?></strong> only <?= $e($sold_out->left) ?> are left. Please lower the quantity; nothing was ordered or charged.
    <?php endif ?>
  </p>
<?php endif ?>
<?php if ($lines === []): ?>
  <p data-test="cart-empty">It is empty. <a href="/">Have a look around.</a></p>
<?php else: ?>
<div class="split">
  <table class="lines">
    <thead><tr><th scope="col">Product</th><th scope="col">Quantity</th><th scope="col" class="num">Price</th></tr></thead>
    <tbody>
    <?php foreach ($lines as $line): ?>
      <tr data-test="cart-line">
        <td><a class="line-product" href="/p/<?= $e($line['slug']) ?>"><img src="<?= $e($asset("{$line['picture']}.svg")) ?>" alt="" width="72" height="72"><span><?= $e($line['title']) ?><small><?= $e($money((int) $line['price_minor'], (string) $line['currency'])) ?> each</small></span></a></td>
        <td>
          <form action="/cart/update" method="post" class="inline">
            <input type="hidden" name="csrf" value="<?= $e($csrf) ?>"><input type="hidden" name="product" value="<?= $e($line['id']) ?>">
            <input name="quantity" type="number" min="0" max="<?= $e($max_quantity) ?>" value="<?= $e($line['quantity']) ?>" inputmode="numeric" aria-label="Quantity of <?= $e($line['title']) ?>">
            <button type="submit">Update</button>
          </form>
          <form action="/cart/update" method="post" class="inline">
            <input type="hidden" name="csrf" value="<?= $e($csrf) ?>"><input type="hidden" name="product" value="<?= $e($line['id']) ?>"><input type="hidden" name="quantity" value="0">
            <button class="quiet" type="submit" aria-label="Remove <?= $e($line['title']) ?>">Remove</button>
          </form>
        </td>
        <td class="num"><?= $e($money((int) $line['line_minor'], (string) $line['currency'])) ?></td>
      </tr>
    <?php endforeach ?>
    </tbody>
  </table>
  <aside class="card">
    <h2>Summary</h2>
    <?= \Shop\View::fill('totals', get_defined_vars()) ?>
    <?php if ($shipping_minor > 0): ?><p class="small">Delivery is free from <?= $e($money((int) $free_from_minor, (string) $currency)) ?>.</p><?php endif ?>
    <a class="button full" href="/checkout" data-test="checkout-link">Go to checkout</a>
  </aside>
</div>
<?php endif ?>
