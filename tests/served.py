"""A real server for tests and benchmarks: uvicorn in a thread, on a free port, and raw connections to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from glassgpt.serve.api import create_app
from glassgpt.serve.desk import Desk
from glassgpt.serve.limits import Access, Limits
from glassgpt.serve.server import Server, listening
from glassgpt.serve.shelf import Shelf


@dataclass(frozen=True)
class Running:
    port: int
    desk: Desk
    app: FastAPI
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        endless: bool = False,
        **headers: str,
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers (small letters), and the body: parsed, where it is JSON; nothing of one without an end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, content, {"Content-Type": "application/json"} | given)
        response = connection.getresponse()
        text = b"" if endless and response.status == 200 else response.read()
        connection.close()
        told = {name.lower(): value for name, value in response.getheaders()}
        is_json = told.get("content-type") == "application/json"
        return response.status, told, json.loads(text) if is_json else text.decode()

    def complete(self, **body: Any) -> tuple[int, dict[str, str], Any]:
        return self.ask("POST", "/v1/completions", {"model": "book", "prompt": "The owl"} | body)

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def send_request(self, **body: Any) -> socket.socket:
        """A request on a connection of its own, whose answer nobody has read yet."""
        content = json.dumps({"model": "book", "prompt": "The owl"} | body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
        connection = self.dial()
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + content)
        return connection

    @property
    def steps(self) -> int:
        return sum(served.engine.slots.steps for served in self.desk.shelf.loaded())

    @property
    def in_flight(self) -> int:
        return sum(served.engine.in_flight for served in self.desk.shelf.loaded())

    def until_idle(self) -> None:
        wait_until(lambda: not self.in_flight and not self.desk.in_flight)


def wait_until(holds: Any, *, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)


@contextmanager
def serving(
    place: Path | str,
    *,
    slots: int = 4,
    queue: int = 20,
    access: Access | None = None,
    limits: Limits | None = None,
    preload: str | None = "book",
    port: int = 0,
) -> Iterator[Running]:
    access, limits = access or Access(), limits or Limits()
    shelf = Shelf(str(place), slots=slots, queue=queue, device="cpu", weights="fp32")
    if preload is not None:
        shelf.take(preload)
    desk = Desk(shelf)
    app = create_app(desk, access, limits)
    server = Server(app, desk, limits)
    own = listening("127.0.0.1", port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [own]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Running(own.getsockname()[1], desk, app, server)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        own.close()
        assert not thread.is_alive()
