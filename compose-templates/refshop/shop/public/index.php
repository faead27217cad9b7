<?php
// Every request of the shop that is no static file.
declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

Shop\Kernel::answer()->send();
