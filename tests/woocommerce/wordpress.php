<?php
/** The few functions of WordPress and WooCommerce that the plugin asks for, and what it told them. */

declare(strict_types=1);

final class Shop
{
    public static string $home = 'https://shop.example';
    public static array $extra_urls = [];
    public static array $filters = [];
    public static array $warnings = [];
    public ?Session $session;

    public function __construct()
    {
        $this->session = new Session();
    }
}

final class Session
{
    private array $entries = [];

    public function get(string $name)
    {
        return $this->entries[$name] ?? null;
    }

    public function set(string $name, $value): void
    {
        $this->entries[$name] = $value;
    }
}

final class Log
{
    public function warning(string $message, array $context): void
    {
        Shop::$warnings[] = $message;
    }
}

/** A shop with a fresh session, and no memory of warnings. */
function open_shop(): Shop
{
    Shop::$warnings = [];
    return $GLOBALS['shop'] = new Shop();
}

function WC(): Shop
{
    return $GLOBALS['shop'];
}

function wc_get_logger(): Log
{
    return new Log();
}

function home_url(string $path = ''): string
{
    return Shop::$home . $path;
}

function site_url(string $path = ''): string
{
    return Shop::$home . $path;
}

function add_filter(string $name, callable $callback, int $priority = 10): void
{
    Shop::$filters[$name] = $callback;
}

function add_action(string $name, callable $callback, int $priority = 10): void
{
    Shop::$filters[$name] = $callback;
}

/** `kallback_shop_urls` as a shop with several domains would set it; the others as the plugin hooked them. */
function apply_filters(string $name, $value)
{
    if ($name === 'kallback_shop_urls') {
        return array_merge($value, Shop::$extra_urls);
    }
    return isset(Shop::$filters[$name]) ? (Shop::$filters[$name])($value) : $value;
}

function current_user_can(string $what): bool
{
    return $what === 'manage_options';
}

function esc_html(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES);
}
