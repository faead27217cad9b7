<?php
// A service that the shop needs does not answer. Buyers get a short page and the request to come back.
declare(strict_types=1);

namespace Shop;

final class TierDown extends \RuntimeException
{
    public function __construct(public readonly string $tier, ?\Throwable $previous = null)
    {
        parent::__construct("$tier does not answer", 0, $previous);
    }
}
