<?php if (($order['note'] ?? '') !== ''): ?><h2>Your note</h2><p data-test="order-note"><?= $e($order['note']) ?></p><?php endif ?>
