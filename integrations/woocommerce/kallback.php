<?php
/**
 * Plugin Name: kallback
 * Description: Puts kallback's token into the callback URLs that WooCommerce gives to Klarna and Kustom.
 * Version: 0.1.0
 * Requires PHP: 7.4
 * License: MIT OR Apache-2.0
 *
 * One file for wp-content/mu-plugins. The README beside it says how to set it up.
 */

declare(strict_types=1);

namespace Kallback;

/**
 * Not `KALLBACK_…`: kallback takes a variable of that kind for an option of its own, and the two may share an environment.
 */
const KEY_NAME = 'WP_KALLBACK_KEY';

/** Name of the query parameter, unless the constant WP_KALLBACK_PARAMETER says otherwise. */
const PARAMETER = 'kallback';

/** Longest URL that Klarna and Kustom take, in characters. */
const URL_CHARACTERS_MAX = 2000;

/** A token is good for at least this long; sessions, pushes and fraud decisions are over by then. */
const TTL_SECONDS = 72 * 3600;

/** The upper half of a token's first byte is the format's version, the lower half one of these. */
const VERSION = 0x10;
const FAMILIES = ['payments' => 1, 'checkout' => 2, 'hosted_page' => 3, 'network' => 4];

/** The fields that servers call. All others are visited by the customer's browser: everybody could read the token. */
const SERVER_FIELDS = [
    'push',
    'validation',
    'address_update',
    'country_change',
    'shipping_option_update',
    'notification',
    'authorization',
    'status_update',
    'upsell',
    'upsell_validation',
];

/** Where the shop's session keeps what its tokens are made from. */
const SESSION_ENTRY = 'kallback_purchase';

if (function_exists('add_filter')) {
    // Last of all, so that what other plugins do to a URL is done before its length is measured.
    add_filter('kco_wc_merchant_urls', __NAMESPACE__ . '\\checkout_urls', PHP_INT_MAX);
    add_filter('kp_wc_api_request_args', __NAMESPACE__ . '\\payments_request', PHP_INT_MAX);
    add_action('woocommerce_cart_emptied', __NAMESPACE__ . '\\forget_purchase');
    add_action('admin_notices', __NAMESPACE__ . '\\tell_the_owner');
}

/**
 * Kustom Checkout, formerly Klarna Checkout: the filter gets the URLs.
 *
 * @param mixed $urls
 * @return mixed
 */
function checkout_urls($urls)
{
    return is_array($urls) ? with_tokens($urls, 'checkout') : $urls;
}

/**
 * Klarna Payments: the filter gets the request's body, and some of the requests name URLs.
 *
 * @param mixed $body
 * @return mixed
 */
function payments_request($body)
{
    if (is_array($body) && isset($body['merchant_urls']) && is_array($body['merchant_urls'])) {
        $body['merchant_urls'] = with_tokens($body['merchant_urls'], 'payments');
    }
    return $body;
}

/** Tokens for the URLs that servers call. Whatever stands in the way, the purchase goes on without. */
function with_tokens(array $urls, string $family): array
{
    $wanting = array_filter(
        array_intersect_key($urls, array_flip(SERVER_FIELDS)),
        static fn($url): bool => is_string($url) && is_own($url)
    );
    if ($wanting === []) {
        return $urls;
    }
    $key = key_of_the_shop();
    if ($key === null) {
        warn('no token: ' . key_fault());
        return $urls;
    }
    $now = time();
    $token = token($key, $family, purchase(), expiry($now));
    foreach ($wanting as $field => $url) {
        $whole = is_good(tokens_in($url), $key, $family, $now) ? $url : append(cut($url), $token);
        if (characters($whole) > URL_CHARACTERS_MAX) {
            warn("no token: with it the URL `$field` would be longer than " . URL_CHARACTERS_MAX . ' characters');
            continue;
        }
        $urls[$field] = $whole;
    }
    return $urls;
}

/**
 * What the tokens of one purchase are made from. It stays the same until the cart is emptied, because Kustom's plugin
 * calls the API each time a URL changes. The customer's id would not do: a token is good for a few orders only, and a
 * customer who is logged in has one id for all. Without a session, as in a renewal by cron, every request is its own.
 */
function purchase(): string
{
    $session = function_exists('WC') && isset(\WC()->session) ? \WC()->session : null;
    $known = $session === null ? null : $session->get(SESSION_ENTRY);
    if (is_string($known) && $known !== '') {
        return $known;
    }
    $new = bin2hex(random_bytes(16));
    if ($session !== null) {
        $session->set(SESSION_ENTRY, $new);
    }
    return $new;
}

/** The cart is empty: what is bought next is another purchase. */
function forget_purchase(): void
{
    if (function_exists('WC') && isset(\WC()->session)) {
        \WC()->session->set(SESSION_ENTRY, null);
    }
}

/** A token as docs/tokens.md describes it. */
function token(array $key, string $family, string $session, int $expires_at): string
{
    $head = pack('CCN', VERSION | FAMILIES[$family], $key['id'], $expires_at);
    $nonce = substr(hash_hmac('sha256', 'kallback-nonce-v1' . $head . $session, $key['secret'], true), 0, 10);
    return bin2hex($head . $nonce . code($key, $head . $nonce));
}

/** The part of a token that only those who have the key can make. */
function code(array $key, string $front): string
{
    return substr(hash_hmac('sha256', 'kallback-token-v1' . $front, $key['secret'], true), 0, 16);
}

/** The midnight UTC that everybody who mints agrees on, so that a purchase keeps its token for the day. */
function expiry(int $now, int $ttl = TTL_SECONDS): int
{
    return intdiv($now + $ttl + 86399, 86400) * 86400;
}

/** Whether there is one token, and kallback would take it. */
function is_good(array $tokens, array $key, string $family, int $now): bool
{
    if (count($tokens) !== 1 || preg_match('/\A[0-9a-f]{64}\z/', $tokens[0]) !== 1) {
        return false;
    }
    $bytes = (string) hex2bin($tokens[0]);
    $head = (array) unpack('Cfamily/Cid/Nexpires_at', $bytes);
    return $head['family'] === (VERSION | FAMILIES[$family])
        && $head['id'] === $key['id']
        && $head['expires_at'] > $now
        && hash_equals(code($key, substr($bytes, 0, 16)), substr($bytes, 16));
}

/** Puts the token behind the query. Never add_query_arg(): it encodes `{checkout.order.id}`, which then stays empty. */
function append(string $url, string $token): string
{
    [$front, $fragment] = front_and_fragment($url);
    $separator = strpos($front, '?') === false ? '?' : '&';
    return $front . $separator . parameter() . '=' . $token . $fragment;
}

/** Takes the tokens out of the query; every other byte stays. */
function cut(string $url): string
{
    if (tokens_in($url) === []) {
        return $url;
    }
    [$front, $fragment] = front_and_fragment($url);
    [$path, $query] = explode('?', $front, 2);
    $others = array_filter(explode('&', $query), static fn(string $pair): bool => !is_token_pair($pair));
    return $path . ($others === [] ? '' : '?' . implode('&', $others)) . $fragment;
}

/** The tokens in the query, as they stand. */
function tokens_in(string $url): array
{
    $query = explode('?', front_and_fragment($url)[0], 2)[1] ?? '';
    $pairs = array_values(array_filter(explode('&', $query), __NAMESPACE__ . '\\is_token_pair'));
    return array_map(static fn(string $pair): string => explode('=', $pair, 2)[1] ?? '', $pairs);
}

/** Whether PHP would file this pair under the parameter's name: kallback cuts it out under all of its spellings. */
function is_token_pair(string $pair): bool
{
    $name = ltrim(urldecode(explode('=', $pair, 2)[0]), ' ');
    return strtr(explode("\0", $name, 2)[0], ' .', '__') === parameter();
}

function front_and_fragment(string $url): array
{
    $end = strpos($url, '#');
    return $end === false ? [$url, ''] : [substr($url, 0, $end), substr($url, $end)];
}

/** Characters, not bytes; without the mbstring extension, which not every host has. */
function characters(string $text): int
{
    return strlen($text) - (int) preg_match_all('/[\x80-\xBF]/', $text);
}

/** Whether the URL leads to this shop: kallback's token is nobody else's business. */
function is_own(string $url): bool
{
    $place = place_of($url);
    // The filter is for shops whose languages have domains of their own.
    $own = (array) apply_filters('kallback_shop_urls', [home_url('/'), site_url('/')]);
    $places = array_map(__NAMESPACE__ . '\\place_of', array_filter($own, 'is_string'));
    return $place !== null && in_array($place, $places, true);
}

/** Host and port of an http or https URL. */
function place_of(string $url): ?string
{
    $parts = parse_url($url);
    if (!is_array($parts) || !isset($parts['host'], $parts['scheme'])) {
        return null;
    }
    $usual = ['http' => 80, 'https' => 443][strtolower($parts['scheme'])] ?? null;
    $port = $parts['port'] ?? $usual;
    // The plugins turn http: into https: where the API wants it, so that the usual ports are one.
    return $usual === null ? null : strtolower($parts['host']) . ($port === $usual ? '' : ":$port");
}

/** The key from the constant or the environment, written like a line of kallback's key file: `1 <64 hex characters>`. */
function key_of_the_shop(): ?array
{
    if (preg_match('/\A\s*([0-9]{1,3})\s+([0-9a-f]{64})\s*\z/', key_text(), $found) !== 1 || $found[1] > 255) {
        return null;
    }
    return ['id' => (int) $found[1], 'secret' => (string) hex2bin($found[2])];
}

function key_text(): string
{
    $text = defined(KEY_NAME) ? constant(KEY_NAME) : getenv(KEY_NAME);
    return is_string($text) ? $text : '';
}

/** Why there is no key, without a character of it. */
function key_fault(): string
{
    return key_text() === ''
        ? 'define ' . KEY_NAME . ' in wp-config.php or set it in the environment'
        : KEY_NAME . ' is not an id from 0 to 255, a blank, and 64 lower-case hex characters';
}

function parameter(): string
{
    return defined('WP_KALLBACK_PARAMETER') ? (string) constant('WP_KALLBACK_PARAMETER') : PARAMETER;
}

/** Into WooCommerce's log (WooCommerce > Status > Logs > kallback), without any URL: these hold secrets. */
function warn(string $message): void
{
    if (function_exists('wc_get_logger')) {
        \wc_get_logger()->warning($message, ['source' => 'kallback']);
    } else {
        error_log("kallback: $message");
    }
}

/** On the pages of wp-admin, as long as there is no key. */
function tell_the_owner(): void
{
    if (key_of_the_shop() === null && current_user_can('manage_options')) {
        printf('<div class="notice notice-error"><p>kallback: %s</p></div>', esc_html(key_fault()));
    }
}
