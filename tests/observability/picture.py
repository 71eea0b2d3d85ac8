"""A quiet day in some minutes, for docs/pictures/dashboard.png: good calls all the time, and now and then a slow
shop, a firewall, a stranger."""

import random
import subprocess
import threading
import time

from dashboard import Dashboard, filled_in
from draw import page
from processes import RATE_SECONDS, RULES, Gateway, Prometheus
from shop import Shop, made_up

SIZE = (1920, 1010)
# Purchases begin so far apart, at random around it.
EVERY_SECONDS = 1.5
POINTS_MAX = 180


def paint(folder, running, picture, minutes):
    shop = Shop()
    gateway = Gateway(folder / "gateway", shop, "", days=90)
    running.append(gateway)
    stranger = Gateway(folder / "stranger", shop, "", days=90)
    running.append(stranger)
    prometheus = Prometheus(folder / "prometheus", [gateway.admin], [RULES / "rules.yml", RULES / "alerts.yml"])
    running.append(prometheus)
    start = time.time()
    play(shop, gateway, stranger, start, 60 * minutes)

    end = time.time()
    dashboard = Dashboard()
    span = int(end - start)
    step = max(1, span // POINTS_MAX)
    rate = max(step + 1, RATE_SECONDS)
    values = {"job": ["kallback"], "instance": [gateway.admin]}
    fill = lambda expression: filled_in(expression, values, span, rate)
    text = page(
        dashboard,
        lambda expression: prometheus.now(fill(expression)),
        lambda expression: prometheus.over_time(fill(expression), start, end, step),
        start,
        end,
        lambda at: time.strftime("%H:%M", time.localtime(at)),
    )
    written = folder / "dashboard.html"
    written.write_text(text)
    window = f"--window-size={SIZE[0]},{SIZE[1]}"
    chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    profile = f"--user-data-dir={folder}/chromium"
    shot = [*chromium, profile, window, f"--screenshot={picture.resolve()}", written.as_uri()]
    subprocess.run(shot, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"observability: {picture} drawn after {span} s of traffic")


def play(shop, gateway, stranger, start, seconds):
    """Calls until the time is up; troubles come at fixed shares of it, so that every picture has them."""
    chance = random.Random(7)
    threads = []

    def call(kind, behaviour, *arguments, **named):
        which = "--session" if kind == "authorization" else "--order"
        begun = threading.Thread(target=gateway.trigger, args=(kind, which, made_up(behaviour), *arguments), kwargs=named)
        begun.start()
        threads.append(begun)

    while (share := (time.time() - start) / seconds) < 1:
        slow = f"slow-{chance.choice((15, 30, 60, 90, 150, 300))}-"
        if 0.3 < share < 0.42:
            # The shop is slow: Klarna gets 204 in time, but a question waits for the shop.
            slow = f"slow-{chance.choice((900, 1900, 3300))}-"
        if 0.6 < share < 0.66:
            slow = "blocked-"
        elif share > 0.66:
            shop.is_unblocked.set()
        kind = chance.choice(("authorization", "authorization", "push", "push", "validation", "notification", "address_update"))
        if kind in ("validation", "address_update") and slow == "blocked-":
            kind = "authorization"
        again = ("--repeat", "2") if chance.random() < 0.08 else ("--concurrent", "2") if chance.random() < 0.1 else ()
        patience = ("--indispensable", "--attempts", "1") if kind == "validation" else ("--attempts", "1")
        call(kind, slow, *again, *patience)
        if 0.8 < share < 0.84:
            call("authorization", "", "--attempts", "1", "--repeat", "2", key_of=stranger)
        time.sleep(chance.expovariate(1 / EVERY_SECONDS))
    for begun in threads:
        begun.join()
