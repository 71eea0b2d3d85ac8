<?php
/**
 * Which callback's handler a WooCommerce shop would run for this request. PHP reads query and form itself; the rest are
 * WordPress's and WooCommerce's steps from there to the handler, in our own words. Answers with the handler, or `-`.
 */

declare(strict_types=1);

const HANDLERS = [
    'kp_wc_authorization',
    'wc_gateway_klarna_payments',
    'kco_wc_push',
    'kco_wc_validation',
    'kco_wc_shipping_option_update',
    'kco_wc_address_update',
    'kco_wc_notification',
    'wc_gateway_klarna_checkout',
    'wc_gateway_klarna_order_validate',
];

const REST_ROUTES = ['/klarna/v1/kec/notifications', '/kcowc/v1/address/(?P<id>[^/]+)'];

/** Query variables that the path gives: the first rewrite rule that fits the raw or the decoded path. */
function variables_of_path(): array
{
    [$path] = explode('?', $_SERVER['REQUEST_URI']);
    [$info] = explode('?', $_SERVER['PATH_INFO'] ?? '');
    $info = str_replace('%', '%25', $info);
    $path = trim($info === '' ? $path : str_replace($info, '', $path), '/');
    $info = trim($info, '/');
    $requested = $info !== '' && !preg_match('|^.*index\.php$|', $info) ? $info : ($path === 'index.php' ? '' : $path);
    $rules = [
        '^wp-json/?$' => ['rest_route' => null],
        '^wp-json/(.*)?' => ['rest_route' => 1],
        '^index\.php/wp-json/?$' => ['rest_route' => null],
        '^index\.php/wp-json/(.*)?' => ['rest_route' => 1],
        '^wc-api(/(.*))?/?$' => ['wc-api' => 2],
        '^(.?.+?)/wc-api(/(.*))?/?$' => ['wc-api' => 3],
    ];
    foreach ($rules as $rule => $variables) {
        if (preg_match("#$rule#", $requested, $found) || preg_match("#$rule#", urldecode($requested), $found)) {
            $of = static fn($group) => $group === null ? '/' : ($group === 1 ? '/' : '') . ($found[$group] ?? '');
            return array_map($of, $variables);
        }
    }
    return [];
}

/** A public query variable: the form comes before the query, the query before the path. Null if WordPress gives up. */
function variable(string $name, array $of_path)
{
    if (isset($_GET[$name], $_POST[$name]) && $_GET[$name] !== $_POST[$name]) {
        return null;
    }
    return $_POST[$name] ?? $_GET[$name] ?? $of_path[$name] ?? '';
}

/** Without tags, line breaks and left-over escapes: what WordPress makes of a text field. */
function plain_text(string $text): string
{
    if (!preg_match('//u', $text)) {
        return '';
    }
    if (strpos($text, '<') !== false) {
        $text = preg_replace('@<(script|style)[^>]*?>.*?</\1>@si', '', $text);
        $text = trim(strip_tags($text));
    }
    $text = trim(preg_replace('/[\r\n\t ]+/', ' ', $text));
    $found = false;
    while (preg_match('/%[a-f0-9]{2}/i', $text, $escape)) {
        $text = str_replace($escape[0], '', $text);
        $found = true;
    }
    return $found ? trim(preg_replace('/ +/', ' ', $text)) : $text;
}

function handler(): ?string
{
    $of_path = variables_of_path();
    $api = variable('wc-api', $of_path);
    $rest = variable('rest_route', $of_path);
    if ($api === null || $rest === null) {
        return null;
    }
    // WooCommerce looks at the query by itself, and deletes more of it.
    if (!empty($_GET['wc-api'])) {
        $api = is_string($_GET['wc-api']) ? preg_replace('/[^a-z0-9_\-]/', '', strtolower($_GET['wc-api'])) : '';
    }
    if (!empty($api)) {
        $name = is_string($api) ? strtolower(plain_text($api)) : '';
        // Served before the REST routes, and never anything after it.
        return in_array($name, HANDLERS, true) ? $name : null;
    }
    foreach (is_string($rest) ? REST_ROUTES : [] as $route) {
        if (preg_match("@^$route$@i", rtrim($rest, '/\\'))) {
            return $route;
        }
    }
    return null;
}

header('Content-Type: text/plain');
echo handler() ?? '-';
