<?php
// Looking around: home, categories, products, search.
declare(strict_types=1);

namespace Shop\Page;

use Shop\Context;
use Shop\Response;

final class Browse
{
    public function __construct(private readonly Context $context)
    {
    }

    public function home(): Response
    {
        return $this->context->view()->page('home', 'Welcome', ['products' => $this->context->services->catalogue()->featured()]);
    }

    public function category(string $slug): Response
    {
        $catalogue = $this->context->services->catalogue();
        $category = $catalogue->category($slug);
        if ($category === null) {
            return $this->context->notFound();
        }
        return $this->context->view()->page('category', (string) $category['title'], [
            'category' => $category,
            'products' => $catalogue->inCategory((int) $category['id']),
            'here' => $slug,
        ]);
    }

    public function product(string $slug): Response
    {
        $catalogue = $this->context->services->catalogue();
        $product = $catalogue->product($slug);
        if ($product === null) {
            return $this->context->notFound();
        }
        $others = array_filter(
            $catalogue->inCategory((int) $product['category_id']),
            static fn (array $p) => $p['id'] !== $product['id'],
        );
        return $this->context->view()->page('product', (string) $product['title'], [
            'product' => $product,
            'others' => array_slice($others, 0, 4),
            'here' => $product['category_slug'],
        ]);
    }

    public function search(): Response
    {
        $query = $this->context->field('q', 100);
        return $this->context->view()->page('search', $query === '' ? 'Search' : "Search: $query", [
            'query' => $query,
            'products' => $this->context->services->search()->find($query),
        ]);
    }
}
