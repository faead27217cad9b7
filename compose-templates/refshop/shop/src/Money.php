<?php
// Writes amounts; they are kept as whole minor units (cents) and never touch a float before this.
declare(strict_types=1);

namespace Shop;

final class Money
{
    public function __construct(private readonly string $locale)
    {
    }

    public function format(int $minor, string $currency): string
    {
        $format = new \NumberFormatter($this->locale, \NumberFormatter::CURRENCY);
        $format->setTextAttribute(\NumberFormatter::CURRENCY_CODE, $currency);
        $digits = (int) $format->getAttribute(\NumberFormatter::FRACTION_DIGITS);
        return (string) $format->formatCurrency($minor / 10 ** $digits, $currency);
    }
}
