"""The server itself: a socket, a process that ends in order, and no patience with those who never finish asking.

uvicorn speaks HTTP; added here are the time limit for the head of a request (that for its body is in `guard.py`), the
socket that says in one line why it cannot be had, and the end: the first signal drains, the second leaves at once.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from glassgpt.errors import ConfigError
from glassgpt.serve.desk import WHEN_GONE, Desk
from glassgpt.serve.limits import Limits
from glassgpt.training.signals import SIGNALS, Interrupts, leave_at_once

# How long the worker may keep Python to itself while the loop has something to send, or a client that left to notice;
# Python's own 5 ms are two steps of the default model.
HANDOVER_S = 0.0005
MOST_CONNECTIONS = 512  # half of the files that a process may usually have open; further ones get 503


class Server(uvicorn.Server):
    def __init__(self, app: FastAPI, desk: Desk, limits: Limits) -> None:
        config = uvicorn.Config(
            app,
            http=type("HastyProtocol", (HastyProtocol,), {"send_s": limits.send_s}),
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=limits.header_bytes,
            timeout_graceful_shutdown=1,
            limit_concurrency=MOST_CONNECTIONS,
        )
        super().__init__(config)
        self.desk, self.limits = desk, limits
        self._until_s = 0.0
        self._interrupts = Interrupts()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        before = sys.getswitchinterval()
        sys.setswitchinterval(HANDOVER_S)
        try:
            super().run(sockets)
        finally:
            sys.setswitchinterval(before)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Those of uvicorn would end the process by the same signal once more; ours are the command's."""
        with self._interrupts:
            yield

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._interrupts.caught and not self.desk.draining:
            self.drain()
            for number in SIGNALS:
                signal.signal(number, leave_at_once)
        if self.desk.draining and (not self.desk.in_flight or time.monotonic() > self._until_s):
            self.should_exit = True
        return await super().on_tick(counter)

    def drain(self) -> None:
        """Those who are being served are served to their end, and nobody else."""
        self._until_s = time.monotonic() + self.limits.drain_s
        self.desk.draining = True
        if self.desk.in_flight:
            print(
                f"{self.desk.in_flight} requests are still answered, for {self.limits.drain_s:g} s at most; "
                f"another signal leaves at once",
                file=sys.stderr,
            )


class HastyProtocol(H11Protocol):
    """Cuts a connection on which no head of a request was completed in time, or whose answer nobody reads."""

    send_s = Limits.send_s
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """What was sent and not taken fills the buffer."""
        super().pause_writing()
        self._unread = self.loop.call_later(3 * self.send_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.scope is not None:
            self.scope["state"].get(WHEN_GONE, nothing)()  # at once: the route itself hears it some turns later
        super().connection_lost(exc)
        self._stop_watching()
        self._forget_unread()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_watching()
        elif self._timer is None:  # later bytes of the same head win no time
            self._timer = self.loop.call_later(self.send_s, self._cut)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _cut(self) -> None:
        self._timer = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()


def nothing() -> None:
    pass


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, or the reason why not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"--host {host}: this machine knows no such address; try 127.0.0.1") from None
    own = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(address)
        own.listen(2048)
    except OSError as problem:
        own.close()
        raise ConfigError(_why_not(problem, host, port)) from None
    return own


def _why_not(problem: OSError, host: str, port: int) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another program; choose another --port, or 0 for any that is free"
    if problem.errno == errno.EACCES:
        return f"port {port} is not allowed to this user; choose a --port from 1024 on"
    return f"--host {host} --port {port}: {problem.strerror}"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can come in there."""
    try:
        found: list[Any] = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return False
    return all(ipaddress.ip_address(address[0].partition("%")[0]).is_loopback for *_, address in found)
