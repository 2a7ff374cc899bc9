"""Serves the files of a directory. Needs only Python 3.

STATIC_ROOT  the directory; nothing outside of it is served, also not by a symlink, and no file that begins with a dot
PORT         where it listens

/            index.html; /about is about.html or about/index.html; what is not there is 404.html with status 404
ETag         of what is in the file: a slug's files have no times. If-None-Match is 304; Range is one range

SIGTERM: no new connections, the requests in flight are answered, exit status 0.
"""

import hashlib
import mimetypes
import os
import re
import signal
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

ROOT = os.path.realpath(os.environ.get("STATIC_ROOT", "."))
NOT_FOUND = b"<!doctype html><title>Not found</title><h1>404 Not found</h1>\n"
TAGS = {}

for extension, kind in {
    ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm",
    ".svg": "image/svg+xml", ".webp": "image/webp", ".avif": "image/avif", ".woff2": "font/woff2", ".woff": "font/woff",
    ".webmanifest": "application/manifest+json", ".map": "application/json", ".md": "text/markdown",
}.items():
    mimetypes.add_type(kind, extension)


def find(path):
    """The file for the path of a URL: its own path, or None; with a slash at its end where it is to be asked for so."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if any(part == ".." or part.startswith(".") and part != ".well-known" or "\0" in part for part in parts):
        return None
    whole = os.path.realpath(os.path.join(ROOT, *parts))
    if whole != ROOT and not whole.startswith(ROOT + os.sep):
        return None
    if os.path.isdir(whole):
        index = os.path.join(whole, "index.html")
        if os.path.isfile(index) and os.path.realpath(index).startswith(ROOT + os.sep):
            return index if path.endswith("/") else path + "/"
        return None
    if path.endswith("/"):
        return None
    for candidate in (whole, whole + ".html"):
        if os.path.isfile(candidate) and os.path.realpath(candidate).startswith(ROOT + os.sep):
            return candidate
    return None


def tag(file):
    """What is in the file, in short; counted once for as long as the file stays."""
    status = os.stat(file)
    known = TAGS.get(file)
    if known is None or known[0] != (status.st_mtime_ns, status.st_size):
        digest = hashlib.blake2b(digest_size=16)
        with open(file, "rb") as opened:
            while piece := opened.read(1 << 20):
                digest.update(piece)
        known = TAGS[file] = ((status.st_mtime_ns, status.st_size), f'"{digest.hexdigest()}"')
    return known[1]


class Static(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    server_version = "busbar-static"
    sys_version = ""
    timeout = 65

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        url = urlsplit(self.path)
        file = find(unquote(url.path, errors="surrogateescape"))
        if file is not None and file.endswith("/"):
            # `//host/` would lead to somebody else.
            location = "/" + quote(file.strip("/")) + "/" + (f"?{url.query}" if url.query else "")
            return self.plain(HTTPStatus.MOVED_PERMANENTLY, b"", with_body, ("Location", location))
        if file is None:
            page = os.path.join(ROOT, "404.html")
            if os.path.isfile(page) and os.path.realpath(page).startswith(ROOT + os.sep):
                with open(page, "rb") as opened:
                    return self.plain(HTTPStatus.NOT_FOUND, opened.read(), with_body)
            return self.plain(HTTPStatus.NOT_FOUND, NOT_FOUND, with_body)
        self.file(file, with_body)

    def plain(self, status, body, with_body, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def file(self, file, with_body):
        etag = tag(file)
        seen = self.headers.get("If-None-Match", "")
        if seen.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in seen.split(",")]:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", etag)
            return self.end_headers()
        with open(file, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            part = self.part(size, etag)
            if part is False:
                return self.plain(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", with_body, ("Content-Range", f"bytes */{size}"))
            begin, end = part or (0, size)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
            if part:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
            kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
            is_text = kind.startswith("text/") or kind in ("application/json", "application/manifest+json", "image/svg+xml")
            self.send_header("Content-Type", kind + ("; charset=utf-8" if is_text else ""))
            self.send_header("Content-Length", str(end - begin))
            self.send_header("ETag", etag)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Cache-Control", "no-cache")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            opened.seek(begin)
            left = end - begin if with_body else 0
            while left > 0 and (piece := opened.read(min(left, 1 << 18))):
                self.wfile.write(piece)
                left -= len(piece)
            if left:
                self.close_connection = True  # it became shorter meanwhile

    def part(self, size, etag):
        """Which bytes are asked for: None for all of them, False for none that there are."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "").strip(), re.ASCII)
        if not asked or asked.groups() == ("", "") or self.headers.get("If-Range", etag) != etag:
            return None
        first, last = asked.groups()
        if not first:
            begin, end = max(size - int(last), 0), size
        else:
            begin, end = int(first), min(int(last) + 1 if last else size, size)
            if last and int(last) < int(first):
                return None
        return (begin, end) if begin < end else False

    def log_message(self, format, *args):
        pass  # the router has a line for each request


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for the requests in flight
    request_queue_size = 1024

    def __init__(self, address):
        self.open = set()
        super().__init__(address, Static, bind_and_activate=False)

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
        print(f"connection error: {sys.exc_info()[1]}", flush=True)


def main():
    server = Server(("0.0.0.0", int(os.environ.get("PORT", "5000"))))
    # `shutdown` waits for the loop that this signal interrupts, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.server_bind()
    server.server_activate()
    print(f"serving {ROOT} on port {server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.stop_reading()
    server.server_close()


if __name__ == "__main__":
    main()
