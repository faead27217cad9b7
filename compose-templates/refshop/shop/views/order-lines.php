<table class="lines">
  <thead><tr><th scope="col">Product</th><th scope="col" class="num">Quantity</th><th scope="col" class="num">Each</th><th scope="col" class="num">Price</th></tr></thead>
  <tbody><?php foreach ($lines as $line): ?>
    <tr data-test="order-line"><td><?= $e($line['title']) ?></td><td class="num"><?= $e($line['quantity']) ?></td><td class="num"><?= $e($money((int) $line['unit_minor'], (string) $order['currency'])) ?></td><td class="num"><?= $e($money((int) $line['line_minor'], (string) $order['currency'])) ?></td></tr>
  <?php endforeach ?></tbody>
</table>
<?= \Shop\View::fill('totals', $order + get_defined_vars()) ?>
