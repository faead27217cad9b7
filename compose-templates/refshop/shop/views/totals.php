<dl class="totals">
  <div><dt>Items</dt><dd><?= $e($money((int) $items_minor, (string) $currency)) ?></dd></div>
  <div><dt>Delivery</dt><dd><?= (int) $shipping_minor === 0 ? 'free' : $e($money((int) $shipping_minor, (string) $currency)) ?></dd></div>
  <div class="sum"><dt>Total</dt><dd data-test="total"><?= $e($money((int) $total_minor, (string) $currency)) ?></dd></div>
</dl>
