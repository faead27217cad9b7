<header class="intro">
  <h1>Search</h1>
  <?php if ($query === ''): ?>
    <p>What are you looking for? Type a word above.</p>
  <?php elseif ($products === []): ?>
    <p data-test="search-none">Nothing fits “<?= $e($query) ?>”. Try a shorter word, or browse by room.</p>
  <?php else: ?>
    <p data-test="search-summary"><?= count($products) === 1 ? 'One thing fits' : $e(count($products)) . ' things fit' ?> “<?= $e($query) ?>”.</p>
  <?php endif ?>
</header>
<?= \Shop\View::fill('tiles', get_defined_vars()) ?>
