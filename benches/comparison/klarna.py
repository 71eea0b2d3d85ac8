"""Callbacks as Klarna sends them: each over a TLS connection of its own, at its own time, whatever became of the others."""

import asyncio
import random
import ssl
import time

from . import world

# Klarna's own limit for an authorization callback.
IN_TIME_SECONDS = 2.0


async def send(port, sessions, per_second, give_up_seconds):
    """Sends one authorization callback for each session; gives back how long each took, `None` where there was no 2xx
    within the time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    chance, mint = random.Random(1), world.minting()
    began = time.monotonic()

    async def one(number, session):
        # At any moment of its own turn, so that they meet nothing that has the same beat.
        await asyncio.sleep(max(0.0, began + (number + chance.random()) / per_second - time.monotonic()))
        sent = time.monotonic()
        try:
            status = await asyncio.wait_for(call(port, context, request(session, mint(session))), give_up_seconds)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            return None
        return time.monotonic() - sent if status.startswith(b"HTTP/1.1 2") else None

    return await asyncio.gather(*(one(number, session) for number, session in enumerate(sessions)))


async def call(port, context, message):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(message)
        return await reader.readuntil(b"\r\n")
    finally:
        writer.transport.abort()


def request(session, token):
    body = f'{{"authorization_token":"{session}-token","session_id":"{session}"}}'
    return (f"POST /wc-api/KP_WC_AUTHORIZATION?kallback={token} HTTP/1.1\r\nHost: shop.test\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}").encode()


def quantile(times, share):
    """Of those that count; what never came counts as longest."""
    ordered = sorted(float("inf") if one is None else one for one in times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
