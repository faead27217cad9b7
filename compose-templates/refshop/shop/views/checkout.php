<header class="intro"><h1>Checkout</h1></header>
<?php
$input = static function (string $name, string $label, string $autocomplete, string $type = 'text') use ($e, $buyer, $errors): void {
    $bad = isset($errors[$name]);
    printf(
        '<div class="field%s"><label for="%2$s">%3$s</label><input id="%2$s" name="%2$s" type="%4$s" value="%5$s" autocomplete="%6$s" required%7$s data-test="%2$s">%8$s</div>',
        $bad ? ' bad' : '', $e($name), $e($label), $e($type), $e($buyer[$name]), $e($autocomplete),
        $bad ? ' aria-invalid="true" aria-describedby="' . $e($name) . '-error"' : '',
        $bad ? '<p class="error" id="' . $e($name) . '-error">' . $e($errors[$name]) . '</p>' : '',
    );
};
?>
<form action="/checkout" method="post" class="split">
  <div class="card">
    <h2>Where shall it go?</h2>
    <input type="hidden" name="csrf" value="<?= $e($csrf) ?>">
    <input type="hidden" name="token" value="<?= $e($token) ?>">
    <?php $input('name', 'Your name', 'name') ?>
    <?php $input('email', 'E-mail', 'email', 'email') ?>
    <?php $input('street', 'Street and number', 'street-address') ?>
    <div class="pair"><?php $input('postcode', 'Postcode', 'postal-code') ?><?php $input('city', 'Town or city', 'address-level2') ?></div>
    <div class="field<?= isset($errors['country']) ? ' bad' : '' ?>">
      <label for="country">Country</label>
      <select id="country" name="country" autocomplete="country" required data-test="country">
        <option value="">Please choose</option>
        <?php foreach ($countries as $code => $name): ?><option value="<?= $e($code) ?>"<?= $buyer['country'] === $code ? ' selected' : '' ?>><?= $e($name) ?></option><?php endforeach ?>
      </select>
      <?php if (isset($errors['country'])): ?><p class="error"><?= $e($errors['country']) ?></p><?php endif ?>
    </div>
    <?= \Shop\View::fill('checkout-more', get_defined_vars()) ?>
    <p class="small">You pay by invoice, after the parcel has arrived.</p>
  </div>
  <aside class="card">
    <h2>Your order</h2>
    <ul class="brief"><?php foreach ($lines as $line): ?><li><span><?= $e($line['quantity']) ?> × <?= $e($line['title']) ?></span><span><?= $e($money((int) $line['line_minor'], (string) $line['currency'])) ?></span></li><?php endforeach ?></ul>
    <?= \Shop\View::fill('totals', get_defined_vars()) ?>
    <button class="button full" type="submit" data-test="place-order">Place order</button>
  </aside>
</form>
