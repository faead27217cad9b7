<section class="hero">
  <div class="hero-text">
    <h1>Good things, used daily.</h1>
    <p>Pottery, tools, lamps, paper and cloth from workshops that we visit ourselves. Fewer things, and better ones.</p>
    <p><a class="button" href="/c/<?= $e($categories[0]['slug'] ?? '') ?>">Start at the table</a></p>
  </div>
  <img src="<?= $e($asset('teapot-linde.svg')) ?>" alt="A white teapot with a wooden handle" width="400" height="400">
</section>
<section>
  <h2>Rooms to browse</h2>
  <ul class="rooms">
  <?php foreach ($categories as $c): ?>
    <li><a href="/c/<?= $e($c['slug']) ?>"><img src="<?= $e($asset("{$c['picture']}.svg")) ?>" alt="" width="400" height="400"><span><?= $e($c['title']) ?></span></a></li>
  <?php endforeach ?>
  </ul>
</section>
<section>
  <h2>Loved by our customers</h2>
  <?= \Shop\View::fill('tiles', get_defined_vars()) ?>
</section>
