"""A shop that says 200 to everything, and a name server that knows only it. For tests/packages/run.

Usage: shop.py PORT [NAME]. With NAME, a name server on 127.0.0.1:53 says that NAME is 127.0.0.1. Every call is
printed as "METHOD PATH".
"""

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Shop(BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print(self.command, self.path, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def serve_names(name):
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 53))
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    while True:
        query, caller = listener.recvfrom(512)
        end = query.index(b"\0", 12) + 5
        question, wanted = query[12:end], query[end - 4 : end - 2]
        known = question[:-4].lower() == labels
        answers = known and wanted == b"\0\1"
        # Standard response, authoritative; 3 is "no such name".
        head = query[:2] + (b"\x85\x80" if known else b"\x85\x83") + b"\0\1" + (b"\0\1" if answers else b"\0\0") + b"\0" * 4
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([127, 0, 0, 1]) if answers else b""
        listener.sendto(head + question + record, caller)


if len(sys.argv) > 2:
    threading.Thread(target=serve_names, args=(sys.argv[2],), daemon=True).start()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
