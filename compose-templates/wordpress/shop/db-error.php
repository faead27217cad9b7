<?php
// What WordPress shows when its database is away.
http_response_code(503);
header('Retry-After: 5');
header('Cache-Control: no-store');
header('Content-Type: text/html; charset=utf-8');
readfile(__DIR__ . '/../unavailable.html');
