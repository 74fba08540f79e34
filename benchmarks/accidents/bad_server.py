"""A web server that does to a download whatever has been seen to happen to one.

Each file has an address of its own and a list of behaviours, one for each request; when they are used up, the server is
good. What it was asked and what it gave is written down. The behaviours are in `bad_answers.py`; `download_test.py`
fetches from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Case:
    """One file, how it is served, and what happened."""

    content: bytes
    rng: random.Random
    elsewhere: str = ""  # the same file on another server
    local: Path | None = None  # a file of this machine that a redirect may point to
    behaviours: list[Behaviour] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # the ranges
    authorizations: list[str] = field(default_factory=list)  # that reached a server which must not see one
    sent_bytes: int = 0
    read_without_end: bool = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def place(self, start: int = 0) -> int:
        """Any byte of the file behind `start`, seldom the first or the last."""
        return self.rng.randrange(start, len(self.content))


class Handler(BaseHTTPRequestHandler):
    """Does what the case says. `/N` is the file itself, `/N/anything` the same file by another name."""

    protocol_version = "HTTP/1.1"
    cases: dict[str, Case]
    over: threading.Event  # nobody waits any more

    def do_GET(self) -> None:
        self.close_connection = True
        case = self.cases[self.path.split("/")[1]]
        case.asked.append(self.headers.get("Range", ""))
        if self.headers.get("Authorization") and "elsewhere" in self.path:
            case.authorizations.append(self.headers["Authorization"])
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        behave = case.behaviours.pop(0) if case.behaviours else good
        with contextlib.suppress(OSError):  # the other side may hang up at any time
            behave(self, case, start)

    def begin(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def give(self, case: Case, content: bytes, *, start: int = 0, size: int | None = None, honest: bool = True) -> None:
        """A whole answer; `size` is the length that it claims, and `honest` whether it says which part it is."""
        headers = [("Content-Length", str(len(content) if size is None else size))]
        if start and honest:
            last = len(case.content) - 1
            headers.append(("Content-Range", f"bytes {start}-{last}/{len(case.content)}"))
        self.begin(206 if start else 200, *headers)
        self.pour(case, content)

    def pour(self, case: Case, content: bytes) -> None:
        self.wfile.write(content)
        case.sent_bytes += len(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


Behaviour = Callable[[Handler, Case, int], None]


def good(handler: Handler, case: Case, start: int) -> None:
    handler.give(case, case.content[start:], start=start)


@contextlib.contextmanager
def serving(cases: dict[str, Case]) -> Iterator[str]:
    """The server in a thread of its own, and its address."""
    handler: type[Handler] = type("CaseHandler", (Handler,), {"cases": cases, "over": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        handler.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
