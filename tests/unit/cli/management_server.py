"""A stand-in for a server's management API: scripted answers, and a record of what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from undying.protocol.data import Json


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str | None
    body: Json


@dataclass
class ScriptedServer:
    """Answers each `METHOD path` with a status and a body; anything else with 404 and no error object."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    later: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, what: str, status: int, body: Json) -> None:
        """Script one answer."""
        self.answers[what] = (status, json.dumps(body).encode())

    def then(self, what: str, status: int, body: Json) -> None:
        """Script the answer after the last one scripted; the very last one stays."""
        self.later.setdefault(what, []).append((status, json.dumps(body).encode()))

    def take(self, what: str) -> tuple[int, bytes]:
        """Return what is to be answered now."""
        now = self.answers.get(what, (404, b"<html>not here</html>"))
        if self.later.get(what):
            self.answers[what] = self.later[what].pop(0)
        return now


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Serve on a free loopback port."""
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            script.asked.append(Asked(self.command, self.path, self.headers.get("Authorization"), body))
            status, answer = script.take(f"{self.command} {self.path}")
            self.send_response(status)
            if status == 302:
                self.send_header("Location", answer.decode())
                answer = b""
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = _reply  # noqa: N815 - the name is the library's
        do_POST = _reply  # noqa: N815 - the name is the library's
        do_DELETE = _reply  # noqa: N815 - the name is the library's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
