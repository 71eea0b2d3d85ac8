"""The loads by name: what is sent to every proxy, and what only those get that forward or guard callbacks."""

from . import load

RATES = (500, 2000, 4000)

KEEP_64 = "keep-alive, 64 connections"
KEEP_16 = "keep-alive, 16 connections"
HTTP2 = "HTTP/2, 16 connections of 4 streams"
FRESH = "fresh TLS connection for each request, 16 at once"
FULL = "full TLS handshake and one request, 4 at once"
RESUMED = "resumed TLS handshake and one request, 4 at once"
UNIQUE = "unique authorization callback, 64 connections"
REPEATED = "repeated authorization callback, 64 connections"
UNIQUE_RATE = "unique authorization callback, open loop, 1,000/s over 64 connections"


def at_rate(rate):
    return f"keep-alive, open loop, {rate:,}/s over 32 connections"


TRAFFIC = {
    KEEP_64: lambda server, s: load.wrk(server, 64, s),
    KEEP_16: lambda server, s: load.wrk(server, 16, s),
    **{at_rate(rate): lambda server, s, rate=rate: load.fixed_rate(server, 32, s, rate) for rate in RATES},
    HTTP2: lambda server, s: load.h2load(server, 16, s, streams=4),
    FRESH: lambda server, s: load.fresh(server, 16, s),
    FULL: lambda server, s: load.handshakes(server, 100 * s, resume=False),
    RESUMED: lambda server, s: load.handshakes(server, 100 * s, resume=True),
}
# nginx forwards the same POST and knows nothing of it.
CALLBACKS = {
    UNIQUE: lambda server, s: load.unique_callbacks(server, 64, s),
    REPEATED: lambda server, s: load.repeated_callbacks(server, 64, s),
    UNIQUE_RATE: lambda server, s: load.unique_callbacks_at(server, 64, s, 1000),
}
NOT_FOR_CALLBACKS = ("HAProxy", "Pingora")
