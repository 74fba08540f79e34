"""What a web server answers when it is asked for a file, believed only as far as it can be checked.

Redirects lead to the web and nowhere else, never from https down to http, and our authorization goes to the first
server alone. What may pass is `Interrupted`, everything else an error at once. How the bytes are gathered, over several
attempts and runs, is in `download`.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from glassgpt.errors import DownloadError
from glassgpt.files import BLOCK_BYTES

WORTH_WAITING = {408, 425, 429, 500, 502, 503, 504}
SLOWEST_BYTES_PER_S = 100  # slower than any modem: a server that keeps us waiting with a byte now and then
LONGEST_REASON = 200
WAY_OUT = "try again later (it goes on where it stopped), or train offline on the built-in text: tales"

# As many digits as a size or a pause can have; int() would take other digits too, and refuse thousands of them.
NUMBER = re.compile(r"[0-9]{1,15}")
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15}|\*)")


@dataclass(frozen=True)
class Remote:
    """A file on the network and what it must be."""

    url: str
    digest: str  # its SHA-256, or "git:" and the name that git has for its bytes
    size_bytes: int
    authorization: str = field(default="", repr=False)  # for this server only, never for one that it leads to

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


class Interrupted(Exception):
    """An attempt that failed in a way that may pass; `unreachable`, when nobody answered at all."""

    def __init__(self, reason: str, pause_s: float | None = None, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.pause_s, self.unreachable = pause_s, unreachable


@dataclass(frozen=True)
class Answer:
    """Bytes of the file, and the place in it where the server says that they begin."""

    start: int
    blocks: Iterator[bytes]


@contextlib.contextmanager
def ask(remote: Remote, have_bytes: int, *, timeout_s: float) -> Iterator[Answer]:
    """The answer to a request for what is missing behind the first `have_bytes`; a server may give more than that."""
    with _response(remote, have_bytes, timeout_s=timeout_s) as response:
        yield Answer(_start(remote, response, have_bytes), _blocks(response, timeout_s))


def wrong(remote: Remote, what: str) -> DownloadError:
    return DownloadError(f"{remote.url} {what}; {WAY_OUT}", brief=f"{remote.host} {what}")


def _response(remote: Remote, have_bytes: int, *, timeout_s: float) -> Any:
    if not remote.url.startswith(("http://", "https://")):
        raise DownloadError(f"cannot fetch {remote.url}: an address begins with http:// or https://")
    headers = {"User-Agent": "glassgpt", "Accept-Encoding": "identity"}
    if have_bytes:
        headers["Range"] = f"bytes={have_bytes}-"
    request = urllib.request.Request(remote.url, headers=headers)
    if remote.authorization:
        request.add_unredirected_header("Authorization", remote.authorization)
    try:
        return urllib.request.build_opener(_HttpOnly).open(request, timeout=timeout_s)
    except urllib.error.HTTPError as problem:
        problem.close()
        reason = _one_line(f"the server says {problem.code} {problem.reason}")
        if problem.code in WORTH_WAITING or (problem.code == 416 and have_bytes):
            raise Interrupted(reason, _retry_after_s(problem)) from None
    except (OSError, http.client.HTTPException) as problem:
        raise _interrupted(problem) from None
    except (ValueError, OverflowError) as problem:  # such as a redirect to http://[
        reason = _one_line(f"it leads to what is no address ({problem})")
    raise DownloadError(f"cannot fetch {remote.url}: {reason}; {WAY_OUT}", brief=f"{remote.host}: {reason}")


def _start(remote: Remote, response: Any, have_bytes: int) -> int:
    """Where the bytes of this answer begin; an answer about another file is refused."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in {"", "identity"}:
        raise wrong(remote, f"comes compressed ({_one_line(coding)}), which was not asked for (a proxy?)")
    if response.status != 206:  # the server begins at the beginning, whatever was asked
        length = response.headers.get("Content-Length", "")
        if NUMBER.fullmatch(length) and int(length) != remote.size_bytes:
            page = response.headers.get_content_type() == "text/html"
            what = "a web page (a login page or a proxy?)" if page else f"{int(length):,} bytes"
            raise wrong(remote, f"gave {what} instead of {remote.size_bytes:,} bytes")
        return 0
    told = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if told is None:
        return have_bytes  # as it was asked for; if that is not so, the digest tells
    if told[2] not in {"*", str(remote.size_bytes)}:
        raise wrong(remote, f"gave a part of {int(told[2]):,} bytes instead of {remote.size_bytes:,} bytes")
    return int(told[1])


def _blocks(response: Any, timeout_s: float) -> Iterator[bytes]:
    """The bytes as they come, as long as they come: a timeout alone would wait for ever for a byte now and then."""
    begun, came = time.monotonic(), 0
    while True:
        try:
            block = response.read1(BLOCK_BYTES)  # read1: what came before a cut is kept, not thrown away
        except (OSError, http.client.HTTPException) as problem:
            raise _interrupted(problem) from None
        if not block:
            return
        yield block
        came += len(block)
        if (passed_s := time.monotonic() - begun) >= timeout_s:
            if came < SLOWEST_BYTES_PER_S * passed_s:
                raise Interrupted(f"the connection is too slow ({came:,} bytes in {passed_s:.1f} s)")
            begun, came = time.monotonic(), 0


def _interrupted(problem: Exception) -> Interrupted:
    reason = _one_line(str(getattr(problem, "reason", problem))) or type(problem).__name__
    return Interrupted(reason, unreachable=isinstance(problem, urllib.error.URLError))


def _retry_after_s(problem: urllib.error.HTTPError) -> float | None:
    """The pause that the server asks for, in seconds or until a date."""
    asked = problem.headers.get("Retry-After", "").strip() if problem.headers else ""
    if NUMBER.fullmatch(asked):
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _one_line(text: str) -> str:
    """What a server says goes to a terminal, so it is made short and harmless."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:LONGEST_REASON]


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web, and nowhere else."""

    def redirect_request(self, req: Any, *answer: Any) -> Any:
        address = answer[-1]
        refused = "" if address.startswith(("http://", "https://")) else "which is no web address"
        if req.type == "https" and not address.startswith("https://"):
            refused = refused or "where anybody on the way could read along"
        if refused:
            answer[0].close()
            raise DownloadError(f"{req.full_url} leads to {_one_line(address)}, {refused}; {WAY_OUT}")
        return super().redirect_request(req, *answer)
