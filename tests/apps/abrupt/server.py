"""A web dyno that dies at SIGTERM at once, whatever it is doing: the worst server there is to stop.

GET /           200, which dyno answered
GET /hold?F     the same, when the file F is there
GET /half?F     half of an answer, and the rest when the file F is there
"""

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

DYNO = os.environ["DYNO"]


def wait_for(file):
    print(f"{DYNO} waits for {os.path.basename(file)}", flush=True)
    while not os.path.exists(file):
        time.sleep(0.01)


class Abrupt(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        path, _, file = self.path.partition("?")
        file = unquote(file)
        if path == "/hold":
            wait_for(file)
        body = f"Hello from {DYNO}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if path == "/half":
            self.wfile.write(body[:5])
            wait_for(file)
            body = body[5:]
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, connection, address):
        print(f"connection error: {sys.exc_info()[1]}", flush=True)


Server(("127.0.0.1", int(os.environ["PORT"])), Abrupt).serve_forever()
