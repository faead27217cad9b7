<?php
// What our own files around WordPress share: secrets, and where its code lives.
declare(strict_types=1);

namespace Shopfleet;

/** Where plugins and themes are: in the image, or on the volume `content`. Uploads are on the volume either way. */
const CONTENT_PATH = ['image' => '/wp-content', 'volume' => '/content'];

/** Written last when the volume is filled. */
const MARKER = '/content/.shopfleet-code';

final class Misconfigured extends \RuntimeException
{
}

function secret(string $name): string
{
    $file = "/run/secrets/$name";
    $value = is_readable($file) ? trim((string) file_get_contents($file)) : '';
    if ($value === '') {
        throw new Misconfigured("secret $file is missing, empty or unreadable");
    }
    return $value;
}

/** @return 'image'|'volume' */
function code(): string
{
    $code = getenv('WP_CODE') ?: 'image';
    if (!isset(CONTENT_PATH[$code])) {
        throw new Misconfigured("WP_CODE is '$code', but only 'image' and 'volume' are known");
    }
    return $code;
}

/** A connection for our own questions, which must not wait for a database that is away. */
function database(int $readSeconds): \mysqli
{
    mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
    $link = mysqli_init();
    $link->options(MYSQLI_OPT_CONNECT_TIMEOUT, 2);
    $link->options(MYSQLI_OPT_READ_TIMEOUT, $readSeconds);
    $link->real_connect('db', 'wordpress', secret('db_password'), 'wordpress');
    return $link;
}
