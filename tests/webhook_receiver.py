"""A receiver of webhooks on this machine, for the tests."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def receiver(status=200, headers=(), body=b"", delay=0.0):
    """A receiver on this machine: its URL, and what it was sent."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            content = self.rfile.read(int(self.headers["content-length"]))
            requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, content))
            time.sleep(delay)
            # Whoever asked may be gone by then.
            with suppress(OSError):
                self.answer()

        def answer(self):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?team=1", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
