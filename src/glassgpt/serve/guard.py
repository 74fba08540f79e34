"""The guard before every route: who asks, from which page, how much, and how slowly.

It reads the whole body, within a size and a time, before any route begins; what it refuses costs nothing further. A
page of another origin cannot ask, and a name that somebody's DNS points at this machine is no name of ours. Programs
give the key as a Bearer token; a browser asks its person, and gives it as a password (Basic, under any name).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glassgpt.serve.answers import dumped, error_body
from glassgpt.serve.limits import Access, Limits

OPEN = {"/health"}  # needs no key
ON_EVERY_ANSWER = [
    (b"x-content-type-options", b"nosniff"),  # what we call text is never taken for a script
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),  # no page of others shows ours, or parts of it
]


class RefusedError(Exception):
    """An answer instead of the route's."""

    def __init__(self, status: int, code: str, message: str, *, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.code, self.kind = status, code, kind


class Guard:
    def __init__(self, app: ASGIApp, *, access: Access, limits: Limits) -> None:
        self.app, self.access, self.limits = app, access, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        try:
            if scope["type"] != "http":
                raise RefusedError(400, "no_websocket", "this server speaks plain HTTP")
            address = len(scope.get("raw_path") or b"") + len(scope["query_string"])
            if address + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > self.limits.header_bytes:
                raise RefusedError(431, "head_too_large", f"a head may have {self.limits.header_bytes:,} bytes")
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._refuse_strangers(headers, scope["path"])
            body = await self._body(headers, receive)
        except RefusedError as refused:
            await _answer(refused, send)
            return
        if body is not None:
            await self.app(scope, _replay(body, receive), send)

    def _refuse_strangers(self, headers: Mapping[str, str], path: str) -> None:
        host = _name_in(f"//{headers.get('host', '')}")
        if not self._is_ours(host):
            raise RefusedError(421, "unknown_host", f"Host {host!r} is not this server; start it with --allow-host")
        origin = headers.get("origin")
        if origin is not None and origin not in self.access.origins and not self._is_own_page(origin, headers):
            raise RefusedError(403, "foreign_origin", f"pages of {origin!r} may not ask; start with --allow-origin")
        if self.access.key is None or path in OPEN:
            return
        if not secrets.compare_digest(_key_in(headers.get("authorization", "")), self.access.key.encode("utf-8")):
            message = "this server wants its key: Authorization: Bearer KEY"
            raise RefusedError(401, "invalid_api_key", message, kind="authentication_error")

    def _is_ours(self, host: str) -> bool:
        return host in self.access.hosts or (self.access.any_address and _is_address(host))

    def _is_own_page(self, origin: str, headers: Mapping[str, str]) -> bool:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() if _name_in(origin) else False

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes | None:
        """All of it; None, where the client went away."""
        told = headers.get("content-length", "0")
        if told.isdecimal() and len(told) < 20 and int(told) > self.limits.body_bytes:
            raise self._too_large()
        try:
            return await asyncio.wait_for(self._collected(receive), timeout=self.limits.send_s)
        except asyncio.TimeoutError:
            message = f"the request was not sent within {self.limits.send_s:g} s"
            raise RefusedError(408, "too_slow", message) from None

    async def _collected(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self.limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(body)

    def _too_large(self) -> RefusedError:
        return RefusedError(413, "too_large", f"a request may have {self.limits.body_bytes:,} bytes")


def _key_in(authorization: str) -> bytes:
    """The key that is given: `Bearer KEY`, or the password of `Basic`; empty, where there is none."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip().encode("utf-8", "replace")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(given.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *ON_EVERY_ANSWER]
        await send(message)

    return send_with_headers


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once more, for the route; then whatever the connection says."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


async def _answer(refused: RefusedError, send: Send) -> None:
    body = dumped(error_body(str(refused), code=refused.code, kind=refused.kind))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status in {408, 413, 431}:
        headers.append((b"connection", b"close"))  # the rest of what was sent is not read
    if refused.status == 401:
        headers += [(b"www-authenticate", b'Basic realm="glassgpt", charset="UTF-8"'), (b"www-authenticate", b"Bearer")]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _name_in(url: str) -> str:
    """The host's name alone: `_name_in("//[::1]:8000") == "::1"`; empty, where there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
