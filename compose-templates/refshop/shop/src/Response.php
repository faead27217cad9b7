<?php
// What goes back to the browser.
declare(strict_types=1);

namespace Shop;

final class Response
{
    /** @param array<string, string> $headers */
    private function __construct(
        private readonly int $status,
        private readonly string $body,
        private readonly array $headers,
    ) {
    }

    public static function html(string $body, int $status = 200): self
    {
        return new self($status, $body, ['Content-Type' => 'text/html; charset=utf-8']);
    }

    /** @param array<string, mixed> $value */
    public static function json(array $value, int $status = 200): self
    {
        return new self($status, json_encode($value, JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR) . "\n", ['Content-Type' => 'application/json']);
    }

    /** After a POST: the browser fetches the next page, and a reload sends nothing twice. */
    public static function seeOther(string $path): self
    {
        return new self(303, '', ['Location' => $path]);
    }

    public function with(string $header, string $value): self
    {
        return new self($this->status, $this->body, [$header => $value] + $this->headers);
    }

    public function send(): void
    {
        http_response_code($this->status);
        $common = [
            'Cache-Control' => 'private, no-store',
            'Content-Security-Policy' => "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            'Referrer-Policy' => 'same-origin',
            'X-Content-Type-Options' => 'nosniff',
        ];
        foreach ($this->headers + $common as $name => $value) {
            header("$name: $value");
        }
        echo $this->body;
    }
}
