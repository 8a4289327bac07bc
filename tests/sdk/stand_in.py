"""A server that speaks the telemetry protocol over a real socket and misbehaves on demand; a clock under control."""

import gzip
import hashlib
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ridgeline_sdk.envelope import as_rows

START_US = 1_772_452_800_000_000  # 2026-03-02T12:00:00Z


class FakeClock:
    """A device's clocks, moved by the test."""

    def __init__(self):
        self.now_us = START_US
        self.up_ms = 3_600_000
        self.synced = True
        self.boot = "boot-1"

    def wall_us(self):
        return int(self.now_us)

    def uptime_ms(self):
        return int(self.up_ms)

    def boot_id(self):
        return self.boot

    def quality(self):
        return {"synced": self.synced, "source": "ntp" if self.synced else "none"}

    def advance(self, seconds):
        self.now_us += seconds * 1e6
        self.up_ms += seconds * 1e3


class Server:
    """Ledger and store of a well-behaved server; `script` holds what to do with the next telemetry posts instead.

    A script entry is a status with headers, "drop" (hang up before anything is stored), "lose" (store, then hang up) or
    "half" (store, then break off inside the answer).
    """

    def __init__(self):
        self.script = deque()
        self.requests = []
        self.ledger = {}
        self.rows = {"inferences": [], "windows": [], "events": [], "states": [], "counters": []}
        self.dropped = {"inferences": 0, "windows": 0, "events": 0}
        self.directives = {}
        self.max_body = 1 << 20
        self.takes_gzip = True
        self.token = "good"
        self.routes = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.split("?")[0]
                server.requests.append((self.command, self.path, dict(self.headers), body))
                if path == "/api/v1/telemetry":
                    server.telemetry(self, body)
                elif path in server.routes:
                    server.routes[path](self, body)
                else:
                    server.answer(self, 404, {"detail": "no such page"})

            do_GET = do_POST = handle_any

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    @staticmethod
    def answer(handler, status, payload, headers=(), cut=0):
        body = json.dumps(payload).encode()
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) - cut])
        if cut:
            handler.close_connection = True

    def telemetry(self, handler, body):
        todo = self.script.popleft() if self.script else None
        if todo == "drop":
            handler.close_connection = True
        elif isinstance(todo, tuple):
            self.answer(handler, todo[0], {"detail": "as the script says"}, todo[1])
        else:
            status, payload = self.store(handler.headers, body)
            if todo == "lose":
                handler.close_connection = True
            else:
                self.answer(handler, status, payload, cut=5 if todo == "half" else 0)

    def store(self, headers, body):
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"detail": "token bad"}
        if len(body) > self.max_body:
            return 413, {"detail": "too large"}
        if headers.get("Content-Encoding") == "gzip":
            if not self.takes_gzip:
                return 415, {"detail": "no gzip"}
            body = gzip.decompress(body)
        envelope = json.loads(body)
        key, digest = (envelope["boot_id"], envelope["batch_seq"]), hashlib.sha256(body).hexdigest()
        if key in self.ledger:
            if self.ledger[key] != digest:
                return 409, {"detail": "other body"}
            return 200, {"accepted": {}, "rejected": 0, "duplicate": True, "directives": {}}
        self.ledger[key] = digest
        inferences = envelope.get("inferences", [])
        self.rows["inferences"] += as_rows(inferences) if isinstance(inferences, dict) else inferences
        for section in ("windows", "events", "states"):
            self.rows[section] += envelope.get(section, [])
        if envelope.get("counters"):
            self.rows["counters"].append(envelope["counters"])
        for section, count in envelope["dropped"].items():
            self.dropped[section] += count
        return 200, {"accepted": {}, "rejected": 0, "duplicate": False, "directives": self.directives}

    def envelopes(self):
        """Every telemetry body that was received, decoded."""
        return [
            json.loads(gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body)
            for _, path, headers, body in self.requests
            if path == "/api/v1/telemetry"
        ]
