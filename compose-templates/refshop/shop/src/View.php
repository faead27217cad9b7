<?php
// Fills a page's template and puts it into the shop's frame.
declare(strict_types=1);

namespace Shop;

final class View
{
    /** @param array<string, mixed> $frame what the frame needs on every page */
    public function __construct(private readonly array $frame)
    {
    }

    /** @param array<string, mixed> $values */
    public function page(string $template, string $title, array $values = [], int $status = 200): Response
    {
        $values += $this->frame;
        $body = self::fill($template, $values);
        return Response::html(self::fill('frame', ['title' => $title, 'body' => $body] + $values), $status);
    }

    /** @param array<string, mixed> $values */
    public static function fill(string $template, array $values): string
    {
        extract($values, EXTR_SKIP);
        ob_start();
        try {
            require __DIR__ . "/../views/$template.php";
            return (string) ob_get_contents();
        } finally {
            ob_end_clean();
        }
    }

    public static function escape(int|string|null $text): string
    {
        return htmlspecialchars((string) $text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8');
    }
}
