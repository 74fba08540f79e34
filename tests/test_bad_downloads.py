"""The short version of `benchmarks/download_test.py`, and proof that its promises can be broken."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.message import Message
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from glassgpt.data import answer, download
from glassgpt.errors import DownloadError

ROOT = Path(__file__).parents[1]
PROGRAMS = ("download_test", "bad_answers", "bad_server", "common")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Its part in this process: children that are killed take a while to begin."""
    before = list(sys.path)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module: Any = importlib.import_module("download_test")
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    yield module
    for name in PROGRAMS:
        sys.modules.pop(name, None)
    sys.path[:] = before


def outcomes(program: Any, *names: str, seed: int = 1) -> list[Any]:
    ways = [one for one in program.WAYS if (one.name in names if names else not one.killed)]
    assert len(ways) == (len(names) or len(ways))
    found: list[Any] = program.try_downloads(len(ways), seed, ways=ways)
    return found


def broken(program: Any, *names: str, seed: int = 1) -> set[str]:
    rows = program.promises(outcomes(program, *names, seed=seed), seed)
    return {row.promise.split(",")[0] for row in rows if row.failed}


def test_every_way_to_go_wrong_ends_well(program: Any) -> None:
    found = outcomes(program)
    assert len(found) >= 30
    for outcome in found:
        assert not outcome.accepted, outcome
        assert outcome.untold == "", outcome
        assert outcome.completed, outcome
        assert outcome.resumed or not outcome.resumable, outcome
    assert sum(outcome.resumable for outcome in found) >= 8


def test_a_process_that_is_killed_leaves_what_the_next_goes_on_with(program: Any) -> None:
    for outcome in outcomes(program, "killed at any moment", "killed while it waits", seed=3):
        assert not outcome.accepted, outcome
        assert outcome.completed, outcome
        assert outcome.resumed or not outcome.resumable, outcome


def test_without_the_digest_bad_downloads_are_accepted(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_its_size(path: Path, remote: download.Remote) -> bool:
        return path.is_file() and path.stat().st_size == remote.size_bytes

    monkeypatch.setattr(download, "_is_whole", by_its_size)
    assert "bad downloads: not accepted" in broken(program, "a byte changed", "a web page of the right length")


def test_without_the_size_what_never_ends_is_read_for_ever(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    def unlimited(remote: download.Remote, have_bytes: int, *, timeout_s: float) -> Any:
        object.__setattr__(remote, "size_bytes", 1 << 40)  # as far as the reading goes
        return answer.ask(remote, have_bytes, timeout_s=timeout_s)

    monkeypatch.setattr("glassgpt.data.download.ask", unlimited)
    assert "bad downloads told in one line" in broken(program, "never ends")


def test_without_ranges_nothing_is_gone_on_from(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_the_beginning(remote: download.Remote, _have_bytes: int, *, timeout_s: float) -> Any:
        return answer.ask(remote, 0, timeout_s=timeout_s)

    monkeypatch.setattr("glassgpt.data.download.ask", from_the_beginning)
    assert "of these" in broken(program, "cut")


def test_with_the_authorization_among_the_headers_it_would_be_given_away(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Request, "add_unredirected_header", Request.add_header)
    assert "bad downloads told in one line" in broken(program, "leads elsewhere")


def test_a_byte_now_and_then_is_not_waited_for(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SLOW_S", 0.6)
    assert broken(program, "drips") == set()
    monkeypatch.setattr(answer, "SLOWEST_BYTES_PER_S", 0)
    monkeypatch.setattr(program, "SIZES", (30, 30))  # all of it, in a second
    assert "bad downloads told in one line" in broken(program, "drips")


def redirected(here: str, there: str) -> Any:
    nothing = SimpleNamespace(close=lambda: None)
    return answer._HttpOnly().redirect_request(Request(here), nothing, 302, "Found", Message(), there)


def test_a_redirect_never_leads_from_https_down_to_http() -> None:
    with pytest.raises(DownloadError, match="read along"):
        redirected("https://a.example/x", "http://a.example/x")
    assert redirected("https://a.example/x", "https://b.example/x").full_url == "https://b.example/x"
    assert redirected("http://a.example/x", "https://a.example/x").full_url == "https://a.example/x"


NO_PAUSES = ("soon", "", "-1", "\u00b2", "9" * 5000, "Wed, 99 Foo")


@pytest.mark.parametrize(
    ("asked", "pause_s"),
    [("0", 0), ("120", 120), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), *((asked, None) for asked in NO_PAUSES)],
)
def test_a_pause_is_asked_for_in_seconds_or_until_a_date(asked: str, pause_s: float | None) -> None:
    assert answer._retry_after_s(refusal(asked)) == pause_s


def test_a_date_to_come_is_a_pause_until_then() -> None:
    asked = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=50), usegmt=True)
    assert answer._retry_after_s(refusal(asked)) == pytest.approx(50, abs=3)  # whole seconds, and a busy machine


def refusal(asked: str) -> HTTPError:
    headers = Message()
    headers["Retry-After"] = asked
    return HTTPError("http://a.example/x", 503, "busy", headers, None)


def test_a_network_that_fails_in_the_middle_is_not_taken_for_a_disk_that_does() -> None:
    def read1(_size: int) -> bytes:
        raise OSError(113, "No route to host")

    with pytest.raises(answer.Interrupted, match="No route to host"):
        next(answer._blocks(SimpleNamespace(read1=read1), 1.0))
