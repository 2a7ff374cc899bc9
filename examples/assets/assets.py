"""A page of several files, a WebSocket and server-sent events, for Busbar. Needs only Python 3.

GET /            the page; it loads a style sheet, a script, two images and some data, and says what it found
GET /data.json   how the request came here
GET /events      server-sent events: three, then the end
GET /socket      a WebSocket that sends back what it gets

SIGTERM: no new connections, the requests in flight are answered, exit status 0.
"""

import base64
import hashlib
import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

DYNO = os.environ.get("DYNO", "local.1")
PUBLIC = Path(__file__).parent / "public"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".png": "image/png", ".svg": "image/svg+xml"}
FILES = {"/" + path.name: path for path in PUBLIC.iterdir()} | {"/": PUBLIC / "index.html"}


def say(text):
    print(text, flush=True)


class Assets(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self):
        path = urlsplit(self.path).path
        if path in FILES:
            file = FILES[path]
            self.answer(200, TYPES[file.suffix], file.read_bytes())
        elif path == "/data.json":
            came = {name: self.headers.get(f"X-Forwarded-{name.title()}") for name in ("proto", "port")}
            self.answer(200, "application/json", json.dumps({"dyno": DYNO, **came}).encode())
        elif path == "/events":
            self.events()
        elif path == "/socket" and self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        else:
            self.answer(404, "text/plain", b"There is nothing here.\n")

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in (1, 2, 3):
            self.chunk(f"data: {number}\n\n".encode())
        self.chunk(b"event: end\ndata: end\n\n")
        self.chunk(b"")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def websocket(self):
        """RFC 6455: short text frames, sent back as they came, until the client closes."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            length = head[1] & 0x7F
            if length > 125:
                return  # this small server takes no longer ones
            mask, masked = self.rfile.read(4), self.rfile.read(length)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
            self.wfile.write(bytes([head[0], length]) + data)
            if head[0] & 0x0F == 8:
                return

    def log_message(self, format, *args):
        say(f"{self.command} {self.path} request_id={self.headers.get('X-Request-Id', '')}")


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for the requests in flight
    request_queue_size = 1024

    def __init__(self, address):
        self.open = set()
        super().__init__(address, Assets, bind_and_activate=False)

    def process_request(self, connection, address):
        self.open.add(connection)
        super().process_request(connection, address)

    def shutdown_request(self, connection):
        self.open.discard(connection)
        super().shutdown_request(connection)

    def stop_reading(self):
        """A kept connection without a request ends here; one with a request ends after its answer."""
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RD)
            except OSError:
                pass  # it ended meanwhile

    def handle_error(self, connection, address):
        say(f"connection error: {sys.exc_info()[1]}")


if __name__ == "__main__":
    server = Server(("0.0.0.0", int(os.environ.get("PORT", "5000"))))
    # Before the port is bound: whoever can be reached can also be stopped in order.
    # `shutdown` waits for the loop that this signal interrupts, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.server_bind()
    server.server_activate()
    say(f"{DYNO} listens on port {server.server_address[1]}")
    server.serve_forever(poll_interval=0.05)
    server.stop_reading()
    server.server_close()
