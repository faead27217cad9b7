<?php
// There are fewer pieces than a buyer wants; nothing was taken and nothing ordered.
declare(strict_types=1);

namespace Shop;

final class OutOfStock extends \RuntimeException
{
    public function __construct(public readonly int $productId, public readonly string $title, public readonly int $left)
    {
        parent::__construct("$title: $left left");
    }
}
