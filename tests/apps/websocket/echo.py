"""A web dyno that speaks WebSocket (RFC 6455) with nothing but Python: messages come back, pings are answered."""

import base64
import hashlib
import os
import socketserver
import struct

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE, PING, PONG = 8, 9, 10


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        if not self.rfile.readline():
            return  # somebody only looked whether the port accepts
        fields = {}
        while (line := self.rfile.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        digest = hashlib.sha1((fields["sec-websocket-key"] + GUID).encode()).digest()
        accept = base64.b64encode(digest).decode()
        self.wfile.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        while (frame := self.frame()) is not None:
            opcode, data = frame
            self.send(PONG if opcode == PING else opcode, data)
            if opcode == CLOSE:
                return

    def frame(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.rfile.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.rfile.read(8))
        mask = self.rfile.read(4)
        data = self.rfile.read(length)
        key = (mask * (length // 4 + 1))[:length]
        unmasked = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
        return head[0] & 0x0F, unmasked.to_bytes(length, "big")

    def send(self, opcode, data):
        length = len(data)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
        self.wfile.write(head + data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


with Server(("127.0.0.1", int(os.environ["PORT"])), Echo) as server:
    server.serve_forever()
