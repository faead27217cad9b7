<nav class="crumbs" aria-label="Where you are"><a href="/">Home</a> / <a href="/c/<?= $e($product['category_slug']) ?>"><?= $e($product['category_title']) ?></a></nav>
<article class="product">
  <img class="product-picture" src="<?= $e($asset("{$product['picture']}.svg")) ?>" alt="<?= $e($product['title']) ?>" width="400" height="400">
  <div>
    <h1 data-test="product-title"><?= $e($product['title']) ?></h1>
    <p class="price" data-test="product-price"><?= $e($money((int) $product['price_minor'], (string) $product['currency'])) ?></p>
    <p class="lead"><?= $e($product['description']) ?></p>
    <?php if ($product['stock'] === 0): ?>
      <p class="stock gone" data-test="stock">Sold out. We make more of it when the kiln, the loom or the forge is free again.</p>
    <?php else: ?>
      <p class="stock" data-test="stock"><?= $product['stock'] <= 10 ? 'Only ' . $e($product['stock']) . ' left' : 'In stock, sent within two working days' ?></p>
      <form action="/cart/add" method="post" class="buy">
        <input type="hidden" name="csrf" value="<?= $e($csrf) ?>">
        <input type="hidden" name="product" value="<?= $e($product['id']) ?>">
        <label for="quantity">Quantity</label>
        <input id="quantity" name="quantity" type="number" value="1" min="1" max="<?= $e(min(99, $product['stock'])) ?>" inputmode="numeric" data-test="quantity">
        <button class="button" type="submit" data-test="add-to-cart">Add to cart</button>
      </form>
    <?php endif ?>
    <ul class="promises"><li>Free delivery from <?= $e($money(\Shop\Orders::FREE_SHIPPING_FROM_MINOR, (string) $product['currency'])) ?></li><li>Thirty days to change your mind</li><li>Repaired for as long as we exist</li></ul>
  </div>
</article>
<?php if ($others !== []): ?>
<section>
  <h2>Goes well with</h2>
  <?= \Shop\View::fill('tiles', ['products' => $others] + get_defined_vars()) ?>
</section>
<?php endif ?>
