"""Fetches a file once: resumed where it broke off, checked before it gets its name.

The bytes gather in a `.part` file beside the target; only when size and digest are what they must be does it become
the target. What a server may answer is in `answer`; which texts there are is in `sources`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from glassgpt.data.answer import WAY_OUT, Interrupted, Remote, ask, wrong
from glassgpt.errors import DataError, DownloadError
from glassgpt.files import BLOCK_BYTES, put_in_place, sha256_of, sync_file

__all__ = ["Interrupted", "Remote", "fetch", "patiently"]

TIMEOUT_S = 20.0
HURRIED_TIMEOUT_S = 8.0  # when there is another text to take
PAUSES_S = (1.0, 3.0, 10.0)  # between the attempts; patient enough for a router that restarts
LONGEST_PAUSE_S = 30.0  # even when a server asks for more

Progress = Callable[[int, int], None]  # bytes so far, bytes in all
Result = TypeVar("Result")


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
    attempt: Callable[[], Result],
    *,
    what: str,
    host: str,
    pauses_s: tuple[float, ...] = PAUSES_S,
    hurried: bool = False,
) -> Result:
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
    have_bytes = _attempt(remote, part, progress=progress, timeout_s=timeout_s)
    if have_bytes == remote.size_bytes and _is_whole(part, remote):
        sync_file(part)
        return
    part.unlink()
    if resumed:
        raise Interrupted("the part kept from before did not fit", pause_s=0)
    if have_bytes > remote.size_bytes:
        raise wrong(remote, f"is longer than its {remote.size_bytes:,} bytes")
    raise wrong(remote, "is not what it should be: its SHA-256 is wrong")  # whole, in one go, with other bytes


def _attempt(remote: Remote, part: Path, *, progress: Progress | None, timeout_s: float) -> int:
    """Append to the part file what is missing, as far as this connection lasts; of what is too long, stop there."""
    if part.exists() and part.stat().st_size >= remote.size_bytes:
        if _is_whole(part, remote):
            return remote.size_bytes
        part.unlink()
    have_bytes = part.stat().st_size if part.exists() else 0
    with ask(remote, have_bytes, timeout_s=timeout_s) as answer:
        if answer.start > have_bytes:  # it would be asked for the same, and give the same, again and again
            part.unlink(missing_ok=True)
            raise Interrupted(f"the server gave bytes from {answer.start:,} on, not from {have_bytes:,}", pause_s=0)
        have_bytes = answer.start
        with part.open("r+b" if have_bytes else "wb") as file:
            file.seek(have_bytes)
            file.truncate()
            for block in answer.blocks:
                have_bytes += len(block)
                if have_bytes > remote.size_bytes:
                    return have_bytes
                file.write(block)
                if progress:
                    progress(have_bytes, remote.size_bytes)
    if have_bytes < remote.size_bytes:
        raise Interrupted(f"the connection ended after {have_bytes:,} of {remote.size_bytes:,} bytes")
    return have_bytes
