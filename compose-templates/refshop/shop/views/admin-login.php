<div class="narrow card">
  <h1>Order desk</h1>
  <?php if ($error !== ''): ?><p class="notice" role="alert" data-test="admin-error"><?= $e($error) ?></p><?php endif ?>
  <form action="/admin/login" method="post">
    <input type="hidden" name="csrf" value="<?= $e($csrf) ?>">
    <div class="field"><label for="email">E-mail</label><input id="email" name="email" type="email" autocomplete="username" value="<?= $e($email) ?>" required data-test="admin-email"></div>
    <div class="field"><label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required data-test="admin-password"></div>
    <button class="button full" type="submit" data-test="admin-login">Log in</button>
  </form>
</div>
