"""A shop with a handful of workers: each takes one request at a time, and the others wait in the order in which they
came. `python3 slow_shop.py PORT WORKERS PAGE_MS CALLBACK_MS`

Connections cost no worker, as behind a front server that keeps them: the workers are what is scarce.
"""

import asyncio
import sys

CALLBACK = b"KP_WC_AUTHORIZATION"
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1024\r\n\r\n" + b"x" * 1024


class Shop:
    def __init__(self, workers, page_seconds, callback_seconds):
        self.workers = asyncio.Semaphore(workers)
        self.page_seconds, self.callback_seconds = page_seconds, callback_seconds

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(body_length(head))
                is_callback = CALLBACK in head.partition(b"\r\n")[0]
                async with self.workers:
                    await asyncio.sleep(self.callback_seconds if is_callback else self.page_seconds)
                writer.write(REPLY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def body_length(head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def main(port, workers, page_ms, callback_ms):
    shop = Shop(workers, page_ms / 1000, callback_ms / 1000)
    server = await asyncio.start_server(shop.serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
