<?php
/** Magento's two plugins, as the guide has them, on what the modules build. */

declare(strict_types=1);

namespace Magento\Checkout\Model {
    final class Session
    {
        public ?int $quote = 17;

        public function getQuoteId(): ?int
        {
            return $this->quote;
        }
    }
}

namespace {
    require $argv[1];
    require $argv[2];

    function expect(string $what, $expected, $found): void
    {
        if ($expected !== $found) {
            fwrite(STDERR, "FAILED: $what\n  expected " . json_encode($expected) . "\n  found    " . json_encode($found) . "\n");
            exit(1);
        }
    }

    $session = new Magento\Checkout\Model\Session();
    $tokens = new Shop\Kallback\Plugin\Tokens($session);
    $plain = static fn(array $urls): array => preg_replace('/[?&]kallback=[0-9a-f]{64}/', '', $urls);
    $with = static fn(array $urls): array => array_keys(preg_grep('/[?&]kallback=[0-9a-f]{64}(&|$)/', $urls));

    $payments = [
        'confirmation' => 'https://shop.example/checkout/onepage/success',
        'notification' => 'https://shop.example/klarna/api/disabled',
        'authorization' => 'https://shop.example/checkout/klarna/authorize?token=abc',
    ];
    [$found] = (new Shop\Kallback\Plugin\Payments($tokens))->beforeSetMerchantUrls(null, $payments);
    expect('payments, all else', $payments, $plain($found));
    expect('payments, tokens', ['notification', 'authorization'], $with($found));

    $checkout = [
        'terms' => 'https://shop.example/terms',
        'checkout' => 'https://shop.example/se/checkout/klarna',
        'confirmation' => 'https://shop.example/se/checkout/klarna/confirmation/id/{checkout.order.id}',
        'push' => 'https://shop.example/se/kco/api/push/id/{checkout.order.id}',
        'validation' => 'https://shop.example/index.php/kco/api/validate/id/{checkout.order.id}',
        'address_update' => 'https://shop.example/kco/api/addressUpdate/id/{checkout.order.id}',
        'shipping_option_update' => 'https://shop.example/kco/api/shippingMethodUpdate/id/{checkout.order.id}',
        'notification' => 'https://shop.example/kco/api/notification/id/{checkout.order.id}',
    ];
    $plugin = new Shop\Kallback\Plugin\Checkout($tokens);
    [$request] = $plugin->beforeSetRequest(null, ['locale' => 'sv-SE', 'merchant_urls' => $checkout]);
    expect('checkout, the rest', 'sv-SE', $request['locale']);
    expect('checkout, all else', $checkout, $plain($request['merchant_urls']));
    expect('checkout, tokens', array_slice(array_keys($checkout), 3), $with($request['merchant_urls']));
    expect('again', [$request], $plugin->beforeSetRequest(null, $request));
    expect('a request without URLs', [['a' => 1]], $plugin->beforeSetRequest(null, ['a' => 1]));

    $session->quote = null;
    expect('without a quote', $payments, $tokens->into($payments, 'payments'));
    $session->quote = 17;
    putenv('SHOP_KALLBACK_KEY');
    expect('without a key', $payments, $tokens->into($payments, 'payments'));
    echo "ok: Magento's plugins\n";
}
