<ul class="tiles">
<?php foreach ($products as $p): ?>
  <li class="tile" data-test="product-tile">
    <a href="/p/<?= $e($p['slug']) ?>" data-test="product-link">
      <img src="<?= $e($asset("{$p['picture']}.svg")) ?>" alt="" width="400" height="400" loading="lazy">
      <span class="tile-title"><?= $e($p['title']) ?></span>
      <span class="tile-price"><?= $e($money((int) $p['price_minor'], (string) $p['currency'])) ?></span>
      <?php if ($p['stock'] === 0): ?><span class="badge">Sold out</span><?php elseif ($p['stock'] <= 10): ?><span class="badge">Last pieces</span><?php endif ?>
    </a>
  </li>
<?php endforeach ?>
</ul>
