<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>We are back in a moment</title>
<link rel="stylesheet" href="<?= \Shop\View::escape(\Shop\Assets::url('shop.css')) ?>"></head>
<body><main class="wide"><header class="intro"><h1>We are back in a moment</h1>
<p>The shop is catching its breath. Your cart is safe. Please reload this page in a few seconds.</p>
<p class="small">Reference <?= \Shop\View::escape($id) ?></p></header></main></body>
</html>
