"""Fetches a file once: resumed where it broke off, checked before it gets its name.

The bytes gather in a `.part` file beside the target; only when size and digest are what they must be does it become
the target. Which texts there are is in `sources`; what the hub has is asked in `hub`.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock

from glassgpt.errors import DataError, DownloadError
from glassgpt.files import BLOCK_BYTES, put_in_place, sha256_of, sync_file

TIMEOUT_S = 20.0
HURRIED_TIMEOUT_S = 8.0  # when there is another text to take
PAUSES_S = (1.0, 3.0, 10.0)  # between the attempts; patient enough for a router that restarts
LONGEST_PAUSE_S = 30.0  # even when a server asks for more
WORTH_WAITING = {408, 425, 429, 500, 502, 503, 504}
WAY_OUT = "try again later (it goes on where it stopped), or train offline on the built-in text: tales"

Progress = Callable[[int, int], None]  # bytes so far, bytes in all
Answer = TypeVar("Answer")


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


def fetch(
    remote: Remote,
    target: Path,
    *,
    progress: Progress | None = None,
    pauses_s: tuple[float, ...] = PAUSES_S,
    timeout_s: float = TIMEOUT_S,
    hurried: bool = False,
) -> Path:
    """`target`, holding exactly what `remote` says; nothing is fetched when it does already.

    Who is hurried has another text to take, and does not wait for a network that is not there.
    """
    if _is_whole(target, remote):
        return target
    part = target.with_name(target.name + ".part")
    timeout_s = min(timeout_s, HURRIED_TIMEOUT_S) if hurried else timeout_s
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(part.with_name(part.name + ".lock")):
            if not _is_whole(target, remote):  # another process may have fetched it while we waited
                patiently(
                    lambda: _gather(remote, part, progress=progress, timeout_s=timeout_s),
                    what=remote.url, host=remote.host, pauses_s=pauses_s, hurried=hurried,
                )  # fmt: skip
                put_in_place(part, target)
    except OSError as problem:  # no matter of the network: another text would not help
        raise DataError(f'cannot keep {remote.url} in "{target.parent}": {problem.strerror or problem}') from None
    return target


def patiently(
    attempt: Callable[[], Answer],
    *,
    what: str,
    host: str,
    pauses_s: tuple[float, ...] = PAUSES_S,
    hurried: bool = False,
) -> Answer:
    """What the attempt answers, tried as often as there are pauses, plus once."""
    for number, pause_s in enumerate((*pauses_s, None), 1):
        try:
            return attempt()
        except Interrupted as problem:
            if pause_s is None or (hurried and problem.unreachable):
                times = f" ({number} attempts)" if number > 1 else ""
                brief = f"no connection to {host}" if problem.unreachable else f"{host}: {problem}"
                raise DownloadError(f"cannot fetch {what}: {problem}{times}; {WAY_OUT}", brief=brief) from None
            time.sleep(min(LONGEST_PAUSE_S, pause_s if problem.pause_s is None else problem.pause_s))
    raise AssertionError("the last attempt answers or raises")


def _is_whole(path: Path, remote: Remote) -> bool:
    if not path.is_file() or path.stat().st_size != remote.size_bytes:
        return False
    if remote.digest.startswith("git:"):
        return _git_name_of(path) == remote.digest.removeprefix("git:")
    return sha256_of(path) == remote.digest


def _git_name_of(path: Path) -> str:
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _gather(remote: Remote, part: Path, *, progress: Progress | None, timeout_s: float) -> None:
    """All bytes into the part file, or as many as this connection brings."""
    resumed = part.exists()
    _attempt(remote, part, progress=progress, timeout_s=timeout_s)
    if _is_whole(part, remote):
        sync_file(part)
        return
    part.unlink()
    if resumed:
        raise Interrupted("the part kept from before did not fit", pause_s=0)
    raise _wrong(remote, "is not what it should be: its SHA-256 is wrong")  # whole, in one go, with other bytes


def _attempt(remote: Remote, part: Path, *, progress: Progress | None, timeout_s: float) -> None:
    """Append to the part file what is missing, as far as this connection lasts."""
    if part.exists() and part.stat().st_size >= remote.size_bytes:
        if _is_whole(part, remote):
            return
        part.unlink()
    have_bytes = part.stat().st_size if part.exists() else 0
    with _answer(remote, have_bytes, timeout_s=timeout_s) as answer:
        if answer.status != 206:  # the server begins at the beginning, whatever was asked
            have_bytes = 0
            _refuse_another_file(remote, answer)
        with part.open("ab" if have_bytes else "wb") as file:
            for block in _blocks(answer):
                have_bytes += len(block)
                if have_bytes > remote.size_bytes:
                    break
                file.write(block)
                if progress:
                    progress(have_bytes, remote.size_bytes)
    if have_bytes > remote.size_bytes:
        part.unlink()
        raise _wrong(remote, f"is longer than its {remote.size_bytes:,} bytes")
    if have_bytes < remote.size_bytes:
        raise Interrupted(f"the connection ended after {have_bytes:,} of {remote.size_bytes:,} bytes")


@contextlib.contextmanager
def _answer(remote: Remote, have_bytes: int, *, timeout_s: float) -> Iterator[Any]:
    """The server's answer; failures that may pass become `Interrupted`, others say at once what is wrong."""
    if not remote.url.startswith(("http://", "https://")):
        raise DownloadError(f"cannot fetch {remote.url}: an address begins with http:// or https://")
    headers = {"User-Agent": "glassgpt", "Accept-Encoding": "identity"}
    if have_bytes:
        headers["Range"] = f"bytes={have_bytes}-"
    request = urllib.request.Request(remote.url, headers=headers)
    if remote.authorization:
        request.add_unredirected_header("Authorization", remote.authorization)
    try:
        with urllib.request.build_opener(_HttpOnly).open(request, timeout=timeout_s) as answer:
            yield answer
    except urllib.error.HTTPError as problem:
        problem.close()
        reason = f"the server says {problem.code} {problem.reason}"
        if problem.code not in WORTH_WAITING and not (problem.code == 416 and have_bytes):
            brief = f"{remote.host}: {reason}"
            raise DownloadError(f"cannot fetch {remote.url}: {reason}; {WAY_OUT}", brief=brief) from None
        raise Interrupted(reason, _retry_after_s(problem)) from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as problem:
        reason = str(getattr(problem, "reason", problem)) or type(problem).__name__
        raise Interrupted(reason, unreachable=isinstance(problem, urllib.error.URLError)) from None


def _blocks(answer: Any) -> Iterator[bytes]:
    while block := answer.read1(BLOCK_BYTES):  # read1: what came before a cut is kept, not thrown away
        yield block


def _refuse_another_file(remote: Remote, answer: Any) -> None:
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and int(length) != remote.size_bytes:
        page = answer.headers.get_content_type() == "text/html"
        what = "a web page (a login page or a proxy?)" if page else f"{int(length):,} bytes"
        raise _wrong(remote, f"gave {what} instead of {remote.size_bytes:,} bytes")


def _wrong(remote: Remote, what: str) -> DownloadError:
    return DownloadError(f"{remote.url} {what}; {WAY_OUT}", brief=f"{remote.host} {what}")


def _retry_after_s(problem: urllib.error.HTTPError) -> float | None:
    asked = problem.headers.get("Retry-After", "") if problem.headers else ""
    return float(asked) if asked.isdigit() else None


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web, and nowhere else."""

    def redirect_request(self, req: Any, *answer: Any) -> Any:
        address = answer[-1]
        if not address.startswith(("http://", "https://")):
            answer[0].close()
            raise DownloadError(f"{req.full_url} leads to {address}, which is no web address; {WAY_OUT}")
        return super().redirect_request(req, *answer)
