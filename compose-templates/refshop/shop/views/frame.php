<!doctype html>
<html lang="<?= $e($language) ?>">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><?= $e($title) ?> · <?= $e($shop) ?></title>
<link rel="stylesheet" href="<?= $e($asset('shop.css')) ?>">
<link rel="icon" type="image/svg+xml" href="<?= $e($asset('icon.svg')) ?>">
</head>
<body data-release="<?= $e(\Shop\Release::VERSION) ?>">
<a class="skip" href="#content">Skip to content</a>
<header class="head">
  <div class="wide head-row">
    <a class="brand" href="/"><?= $e($shop) ?></a>
    <form class="find" action="/search" method="get" role="search">
      <label class="hidden" for="q">Search the shop</label>
      <input id="q" name="q" type="search" value="<?= $e($query) ?>" placeholder="Search for lamps, bowls, wool …" maxlength="100" data-test="search-input">
      <button type="submit" data-test="search-submit">Search</button>
    </form>
    <a class="cart-link" href="/cart" data-test="cart-link">Cart<span class="count" data-test="cart-count"><?= $e($pieces) ?></span></a>
  </div>
  <nav class="wide tabs" aria-label="Categories">
    <?php foreach ($categories as $c): ?>
      <a href="/c/<?= $e($c['slug']) ?>"<?= $here === $c['slug'] ? ' aria-current="page"' : '' ?>><?= $e($c['title']) ?></a>
    <?php endforeach ?>
  </nav>
</header>
<main id="content" class="wide"><?= $body ?></main>
<footer class="foot">
  <div class="wide foot-row">
    <p><strong><?= $e($shop) ?></strong><br>Everyday things, made to last.</p>
    <p>Sent within two working days.<br>Thirty days to change your mind.</p>
    <p><a href="/admin">Order desk</a></p>
  </div>
</footer>
</body>
</html>
