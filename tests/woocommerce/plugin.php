<?php
/** The plugin against the token vectors and the URLs that the Klarna and Kustom plugins make. Plain PHP, no framework. */

declare(strict_types=1);

require __DIR__ . '/wordpress.php';
require __DIR__ . '/../../integrations/woocommerce/kallback.php';

const KEY = '1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';
const PUSH = 'https://shop.example/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={checkout.order.id}';
const TOKEN = '[0-9a-f]{64}';

function expect($what, $expected, $found): void
{
    $GLOBALS['checks'] = ($GLOBALS['checks'] ?? 0) + 1;
    if ($expected !== $found) {
        throw new Exception("$what\n    expected " . var_export($expected, true) . "\n    found    " . var_export($found, true));
    }
}

function use_key(string $text): void
{
    putenv("WP_KALLBACK_KEY=$text");
}

function checkout(array $urls): array
{
    return apply_filters('kco_wc_merchant_urls', $urls);
}

function payments(array $urls): array
{
    return apply_filters('kp_wc_api_request_args', ['locale' => 'sv-SE', 'merchant_urls' => $urls])['merchant_urls'];
}

/** The URL without its token, which must be there once. */
function without_token(string $url): string
{
    expect("one token in $url", 1, preg_match_all('/[?&]kallback=' . TOKEN . '/', $url));
    return preg_replace('/\?kallback=' . TOKEN . '(?=#|$)|(?<=\?)kallback=' . TOKEN . '&|&kallback=' . TOKEN . '/', '', $url);
}

$tests = [
    'tokens and expiries are those of the vectors' => function (): void {
        $vectors = json_decode(file_get_contents(__DIR__ . '/../vectors/tokens.json'), true);
        $keys = [];
        foreach ($vectors['keys'] as $key) {
            $keys[$key['id']] = ['id' => $key['id'], 'secret' => hex2bin($key['secret'])];
        }
        foreach ($vectors['tokens'] as $row) {
            $found = Kallback\token($keys[$row['key']], $row['family'], $row['session'], $row['expires_at']);
            expect("session {$row['session']}", $row['token'], $found);
            expect('good', $row['expires_at'] > 0, Kallback\is_good([$found], $keys[$row['key']], $row['family'], 0));
        }
        foreach ($vectors['expiries'] as $row) {
            expect("now {$row['now']}", $row['expires_at'], Kallback\expiry($row['now'], $row['ttl_seconds']));
        }
        expect('vectors', true, count($vectors['tokens']) > 5 && count($vectors['expiries']) > 3);
    },

    'every server URL of every version gets one token, and its other bytes stay' => function (): void {
        $home = 'https://shop.example';
        $rows = [
            ['push', PUSH],
            ['push', "$home/wc-api/KCO_WC_Push/?kco-action=push&kco_wc_order_id={checkout.order.id}&kco_session_id=t_1f"],
            ['push', "$home/wc-api/KCO_WC_Push/?kco-action=subs-payment-changed&kco_wc_order_id=%7Bcheckout.order.id%7D&key=77"],
            ['push', "$home/wc-api/WC_Gateway_Klarna_Checkout/?sid=a&scountry=se&klarna_order={checkout.order.id}&wc-api=WC_Gateway_Klarna_Checkout&klarna-api=rest"],
            ['validation', "$home/wc-api/KCO_WC_Validation/?kco-action=validation&kco_wc_order_id={checkout.order.id}&kco_session_id=t_1f"],
            ['validation', "$home/wc-api/WC_Gateway_Klarna_Order_Validate/"],
            ['shipping_option_update', "$home/wc-api/KCO_WC_Shipping_Option_Update/"],
            ['address_update', "$home/wc-api/KCO_WC_Address_Update/?kco_wc_order_id={checkout.order.id}"],
            ['notification', "$home/wc-api/KCO_WC_Notification/?kco_wc_order_id={checkout.order.id}"],
            ['country_change', "$home/wp-json/kcowc/v1/address/{checkout.order.id}"],
            ['push', "$home/?wc-api=KCO_WC_Push&x=a+b%20c;d&e=&&f='\"#frag?men&t"],
            ['push', "$home/en/wc-api/KCO_WC_Push/?"],
            ['push', "HTTPS://SHOP.example:443/wc-api/KCO_WC_Push/"],
            ['validation', "http://shop.example/wc-api/KCO_WC_Validation/"],
        ];
        foreach ($rows as [$field, $url]) {
            $found = checkout([$field => $url])[$field];
            // `…/?` becomes `…/?&kallback=`, as with kallback itself: nothing but the pair is added.
            expect($field, $url, without_token($found));
            expect('before the fragment', false, strpos(strstr($found, '#') ?: '', 'kallback='));
        }
        foreach (['authorization' => "$home/wc-api/KP_WC_AUTHORIZATION", 'notification' => "$home/wc-api/WC_Gateway_Klarna_Payments/?order_id={order.id}", 'push' => "$home/p/{session.id}"] as $field => $url) {
            expect($field, $url, without_token(payments([$field => $url])[$field]));
        }
        expect('warnings', [], Shop::$warnings);
    },

    'what the browser visits, and what is no URL, stays as it is' => function (): void {
        $urls = [];
        foreach (['terms', 'checkout', 'confirmation', 'cancellation_terms', 'success', 'back', 'cancel', 'failure', 'error'] as $field) {
            $urls[$field] = 'https://shop.example/checkout/?kco_confirm=yes&kco_order_id={checkout.order.id}';
        }
        $odd = ['push' => null, 'validation' => 5, 'notification' => ['a'], 'authorization' => '', 'upsell' => '/relative', 'upsell_validation' => 'https:///x'];
        expect('checkout', $urls + $odd, checkout($urls + $odd));
        expect('payments', $urls + $odd, payments($urls + $odd));
        foreach ([null, false, 'text', ['locale' => 'sv-SE'], ['merchant_urls' => null]] as $body) {
            expect('body', $body, apply_filters('kp_wc_api_request_args', $body));
            expect('urls', $body, apply_filters('kco_wc_merchant_urls', $body));
        }
        expect('order of the fields', ['checkout', 'push', 'terms'], array_keys(checkout(['checkout' => 'a', 'push' => PUSH, 'terms' => 'b'])));
    },

    'only the shop\'s own host gets tokens' => function (): void {
        $foreign = ['https://hooks.example/p', 'https://shop.example.evil/p', 'https://shop.example@evil.example/p', 'https://shop.example:8443/p', 'ftp://shop.example/p', '//shop.example/p'];
        foreach ($foreign as $url) {
            expect($url, ['push' => $url], checkout(['push' => $url]));
        }
        Shop::$extra_urls = ['https://shop.example.evil/', 7, 'not a url'];
        expect('a second domain', $foreign[1], without_token(checkout(['push' => $foreign[1]])['push']));
        Shop::$extra_urls = [];
    },

    'a purchase keeps its token, whatever runs how often' => function (): void {
        $once = checkout(['push' => PUSH]);
        expect('again', $once, checkout(['push' => PUSH]));
        expect('on top', $once, checkout($once));
        WC()->session->set('kallback_purchase', 'another');
        expect('a good token of another purchase stays', $once, checkout($once));
        expect('another purchase, another token', false, checkout(['push' => PUSH]) === $once);
        expect('families differ', false, payments(['push' => PUSH]) === checkout(['push' => PUSH]));
    },

    'the next purchase has another token' => function (): void {
        $first = checkout(['push' => PUSH]);
        (Shop::$filters['woocommerce_cart_emptied'])();
        expect('differs', false, checkout(['push' => PUSH]) === $first);
    },

    'without a session every request has a token of its own' => function (): void {
        WC()->session = null;
        $first = checkout(['push' => PUSH])['push'];
        expect('there', PUSH, without_token($first));
        expect('differs', false, checkout(['push' => PUSH])['push'] === $first);
        (Shop::$filters['woocommerce_cart_emptied'])();
    },

    'a token that would be refused makes room for a good one' => function (): void {
        $good = checkout(['push' => PUSH])['push'];
        $key = Kallback\key_of_the_shop();
        $other = ['id' => 1, 'secret' => str_repeat('x', 32)];
        $expiry = Kallback\expiry(time());
        $bad = [
            'x',
            '',
            Kallback\token($key, 'checkout', 's', time()),
            Kallback\token($key, 'payments', 's', $expiry),
            Kallback\token($other, 'checkout', 's', $expiry),
            Kallback\token(['id' => 2] + $key, 'checkout', 's', $expiry),
            strtoupper(Kallback\token($key, 'checkout', 's', $expiry)),
            Kallback\token($key, 'checkout', 's', $expiry) . "\n",
            '1' . Kallback\token($key, 'checkout', 's', $expiry) . '&kallback=' . Kallback\token($key, 'checkout', 's', $expiry),
        ];
        foreach ($bad as $token) {
            expect($token, $good, checkout(['push' => PUSH . "&kallback=$token"])['push']);
            expect($token, $good, checkout(['push' => str_replace('?', "?%20k%61llback%00z=$token&", PUSH)])['push']);
        }
        $bare = 'https://shop.example/p';
        expect('its only pair', checkout(['push' => $bare]), checkout(['push' => "$bare?kallback"]));
        $near = PUSH . '&kallbac=1&kallback_=2&Kallback=3&kallback%20=4';
        expect('neighbours stay', $near, without_token(checkout(['push' => $near])['push']));
    },

    'a URL never grows beyond 2000 characters' => function (): void {
        $room = 2000 - strlen(PUSH) - strlen('&x=') - 74;
        foreach (['x', 'é'] as $letter) {
            $fits = PUSH . '&x=' . str_repeat($letter, $room);
            expect('fits', $fits, without_token(checkout(['push' => $fits])['push']));
            expect('no warning', [], Shop::$warnings);
            expect('too long', ["push" => $fits . $letter], checkout(['push' => $fits . $letter]));
            expect('one warning', 1, count(Shop::$warnings));
            expect('without the URL', false, strpos(Shop::$warnings[0], 'http'));
            Shop::$warnings = [];
        }
    },

    'without a usable key nothing changes and the owner is told, without the key' => function (): void {
        $secret = substr(KEY, 2);
        $wrong = ['', 'x', $secret, "1$secret", '256 ' . $secret, '-1 ' . $secret, KEY . '0', '1 ' . strtoupper($secret), KEY . "\n2 $secret"];
        foreach ($wrong as $text) {
            open_shop();
            use_key($text);
            expect("key '$text'", ['push' => PUSH], checkout(['push' => PUSH]));
            ob_start();
            (Shop::$filters['admin_notices'])();
            $told = ob_get_clean() . implode(Shop::$warnings);
            expect('told twice', 2, substr_count($told, 'WP_KALLBACK_KEY'));
            expect('not the key', false, stripos($told, '0a0b0c'));
        }
        expect('nothing to do, nothing to say', ['terms' => 'x'], open_shop() ? checkout(['terms' => 'x']) : null);
        expect('no warning', [], Shop::$warnings);
        use_key(' ' . KEY . " \n");
        ob_start();
        (Shop::$filters['admin_notices'])();
        expect('a key with blanks around it is one', '', ob_get_clean());
    },

    'it runs on PHP 7.4' => function (): void {
        $source = file_get_contents(__DIR__ . '/../../integrations/woocommerce/kallback.php');
        $newer_words = ['T_MATCH', 'T_NULLSAFE_OBJECT_OPERATOR', 'T_ATTRIBUTE', 'T_ENUM', 'T_READONLY'];
        $newer_functions = [
            'str_contains', 'str_starts_with', 'str_ends_with', 'get_debug_type', 'get_resource_id', 'fdiv', 'array_is_list',
            'preg_last_error_msg', 'fsync', 'json_validate', 'mb_str_pad', 'array_find', 'array_any', 'array_all', 'mb_trim',
        ];
        foreach (token_get_all($source) as $token) {
            $name = is_array($token) ? token_name($token[0]) : $token;
            expect("$name is newer", false, in_array($name, $newer_words, true));
            expect('function', false, is_array($token) && in_array(strtolower($token[1]), $newer_functions, true));
        }
        $signatures = '/\b(mixed|static|never|true|false|null)\s+\$|\)\s*:\s*\??(mixed|static|never|true|false|null)\b|\)\s*:\s*\w+\s*\||\w+\|\w+\s+\$/';
        $code = preg_replace('~/\*.*?\*/~s', '', $source);
        expect('types of PHP 8', 0, preg_match($signatures, $code));
    },

    'a constant comes before the environment, and the parameter may be called otherwise' => function (): void {
        define('WP_KALLBACK_KEY', '200 ' . str_repeat('ff', 32));
        define('WP_KALLBACK_PARAMETER', 'k_gw');
        $url = checkout(['push' => PUSH])['push'];
        expect('key 200', 1, preg_match('/&k_gw=12c8[0-9a-f]{60}$/', $url));
        expect('again', $url, checkout(['push' => $url])['push']);
        expect('in another spelling', $url, checkout(['push' => PUSH . '&k.gw=x'])['push']);
    },
];

foreach ($tests as $what => $test) {
    use_key(KEY);
    open_shop();
    try {
        $test();
        echo "ok: $what\n";
    } catch (Throwable $fault) {
        echo "FAILED: $what\n  ", $fault->getMessage(), ' (line ', $fault->getTrace()[0]['line'] ?? $fault->getLine(), ")\n";
        exit(1);
    }
}
echo 'woocommerce plugin: ', count($tests), " tests, {$GLOBALS['checks']} checks, 0 failed\n";
