<header class="intro">
  <h1><?= $e($heading) ?></h1>
  <p><?= $e($text) ?></p>
  <p><a class="button" href="/">Back to the shop</a></p>
</header>
