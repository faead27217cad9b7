<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Something went wrong</title>
<link rel="stylesheet" href="<?= \Shop\View::escape(\Shop\Assets::url('shop.css')) ?>"></head>
<body><main class="wide"><header class="intro"><h1>Something went wrong</h1>
<p>We could not show this page, and have written down why. Please try again.</p>
<p class="small">Reference <?= \Shop\View::escape($id) ?></p></header></main></body>
</html>
