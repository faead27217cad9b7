<?php
// The shop was started wrongly; the message says what to set.
declare(strict_types=1);

namespace Shop;

final class Misconfigured extends \RuntimeException
{
}
