<header class="intro">
  <h1><?= $e($category['title']) ?></h1>
  <p><?= $e($category['blurb']) ?></p>
</header>
<?= \Shop\View::fill('tiles', get_defined_vars()) ?>
