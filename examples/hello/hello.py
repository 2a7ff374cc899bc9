"""A small app for Busbar: `web` says hello, `worker` counts. Needs only Python 3.

GET /          200, which dyno answered
GET /?sleep=2  the same, two seconds later
GET /crash     ends the process: see it come back

SIGTERM: no new connections, the requests in flight are answered, exit status 0.
"""

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DYNO = os.environ.get("DYNO", "local.1")


def say(text):
    print(text, flush=True)


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/crash":
            say("crashing, as asked")
            os._exit(1)
        seconds = min(float(parse_qs(url.query).get("sleep", ["0"])[0]), 60)
        if seconds:
            say(f"thinking for {seconds} s")
            time.sleep(seconds)
        body = f"Hello from {DYNO}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        say(f"{self.command} {self.path} request_id={self.headers.get('X-Request-Id', '')}")


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for the requests in flight
    request_queue_size = 1024

    def __init__(self, address):
        self.open = set()
        super().__init__(address, Hello, bind_and_activate=False)

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


def web():
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
    say(f"{DYNO} has answered everything and exits")


def worker():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    done = 0
    say(f"{DYNO} works")
    while not stop.wait(10):
        done += 1
        say(f"{DYNO} has done {done} things")
    say(f"{DYNO} puts its work down and exits")


if __name__ == "__main__":
    {"web": web, "worker": worker}[sys.argv[1]]()
