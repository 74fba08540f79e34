import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from glassgpt.data import sources
from glassgpt.data.download import Remote, fetch
from glassgpt.errors import DownloadError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Behaviour = Callable[["Handler", int], None]


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; before that, misbehaves as the test has asked it to."""

    behaviours: list[Behaviour]
    asked: list[str | None]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        behave = self.behaviours.pop(0) if self.behaviours else whole
        behave(self, start)

    def answer(self, status: int, content: bytes, *, size: int | None = None, **headers: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def whole(handler: Handler, start: int) -> None:
    handler.answer(206 if start else 200, CONTENT[start:])


def cut(handler: Handler, start: int) -> None:
    handler.answer(206 if start else 200, CONTENT[start : start + 300_000], size=len(CONTENT) - start)


def without_ranges(handler: Handler, _start: int) -> None:
    handler.answer(200, CONTENT)


def wrong(handler: Handler, start: int) -> None:
    handler.answer(206 if start else 200, bytes(len(CONTENT) - start))


def says(status: int, **headers: Any) -> Behaviour:
    return lambda handler, _start: handler.answer(status, b"", **headers)


def page(handler: Handler, _start: int) -> None:
    handler.answer(200, b"<html>log in</html>", Content_Type="text/html")


def too_long(handler: Handler, start: int) -> None:
    handler.send_response(200)  # no length: the end is where the connection ends
    handler.end_headers()
    handler.wfile.write(CONTENT + b"more")


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Handler.behaviours, Handler.asked = [], []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def _fetch(server: ThreadingHTTPServer, target: Path, *behaviours: Behaviour, **changes: Any) -> Path:
    Handler.behaviours = list(behaviours)
    remote = replace(Remote(_url(server), SHA256, len(CONTENT)), **changes)
    return fetch(remote, target, pauses_s=(0.0, 0.0, 0.0), timeout_s=5)


def _url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/file"


def _fails(server: ThreadingHTTPServer, target: Path, *behaviours: Behaviour, **changes: Any) -> str:
    with pytest.raises(DownloadError) as caught:
        _fetch(server, target, *behaviours, **changes)
    assert not target.exists()
    assert "\n" not in str(caught.value)
    assert "tales" in str(caught.value) or "http://" in str(caught.value)
    return str(caught.value)


def test_a_file_is_fetched_once(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    assert _fetch(server, target).read_bytes() == CONTENT
    _fetch(server, target)
    assert Handler.asked == [None]
    assert not target.with_name("file.part").exists()


def test_a_connection_that_is_cut_goes_on_where_it_stopped(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert _fetch(server, tmp_path / "file", cut, cut, cut).read_bytes() == CONTENT
    assert Handler.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_download_goes_on_in_a_later_run(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    message = _fails(server, tmp_path / "file", cut, says(503), says(503), says(503))
    assert "503 Service Unavailable (4 attempts)" in message
    assert _fetch(server, tmp_path / "file").read_bytes() == CONTENT
    assert Handler.asked[-1] == "bytes=300000-"


def test_a_server_without_ranges_begins_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert _fetch(server, tmp_path / "file", cut, without_ranges).read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [b"other bytes", bytes(len(CONTENT)), CONTENT + b"more", CONTENT])
def test_a_part_file_with_other_bytes_does_no_harm(server: ThreadingHTTPServer, tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "file.part").write_bytes(kept)
    assert _fetch(server, tmp_path / "file").read_bytes() == CONTENT


def test_a_range_that_is_refused_begins_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:10])
    assert _fetch(server, tmp_path / "file", says(416)).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: ThreadingHTTPServer, tmp_path: Path, status: int) -> None:
    assert _fetch(server, tmp_path / "file", says(status, Retry_After="0"), says(status)).read_bytes() == CONTENT


def test_a_refusal_is_not_asked_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert "404 Not Found" in _fails(server, tmp_path / "file", says(404))
    assert len(Handler.asked) == 1


def test_wrong_bytes_never_get_the_name(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert "its SHA-256 is wrong" in _fails(server, tmp_path / "file", wrong)
    assert list(tmp_path.glob("file*")) in ([], [tmp_path / "file.part.lock"])


def test_a_web_page_instead_of_the_file_is_recognised(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert "gave a web page (a login page or a proxy?) instead of" in _fails(server, tmp_path / "file", page)


def test_another_size_is_refused_at_once(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert "gave 1,024,000 bytes instead of 7 bytes" in _fails(server, tmp_path / "file", size_bytes=7)
    assert "is longer than its 1,024,000 bytes" in _fails(server, tmp_path / "file", too_long)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x"])
def test_a_redirect_away_from_the_web_is_refused(server: ThreadingHTTPServer, tmp_path: Path, address: str) -> None:
    assert address in _fails(server, tmp_path / "file", says(302, Location=address))
    assert len(Handler.asked) == 1


def test_a_redirect_within_the_web_is_followed(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert _fetch(server, tmp_path / "file", says(302, Location=_url(server) + "2")).read_bytes() == CONTENT


def test_an_address_that_is_no_web_address_is_refused(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    assert "begins with http://" in _fails(server, tmp_path / "file", url="file:///etc/passwd")


def test_without_a_network_the_built_in_text_is_offered(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    server.server_close()
    message = _fails(server, tmp_path / "file")
    assert "refused" in message
    assert "train offline on the built-in text: tales" in message


def test_two_at_once_fetch_once(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    remote = Remote(_url(server), SHA256, len(CONTENT))
    threads = [threading.Thread(target=fetch, args=(remote, tmp_path / "file")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert Handler.asked == [None]


def test_tinyshakespeare_comes_from_the_mirror_and_is_checked(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSGPT_MIRROR", _url(server))
    with pytest.raises(DownloadError, match=r"/file/tinyshakespeare/input.txt gave .* instead of 1,115,394 bytes"):
        sources.find_source(("tinyshakespeare",), cache=tmp_path)
    monkeypatch.setattr(sources, "SHAKESPEARE_SHA256", SHA256)
    monkeypatch.setattr(sources, "SHAKESPEARE_BYTES", len(CONTENT))
    source = sources.find_source(("tinyshakespeare",), cache=tmp_path)
    assert source.name == "tinyshakespeare"
    assert source.files[0].read_bytes() == CONTENT


NO_ADDRESSES = ("http://[", "http://.x./", "http://127.0.0.1:99999999/", "http://" + "a" * 70 + "/", "http://a\x01b/")


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_redirect_to_what_is_no_address_is_one_line(
    server: ThreadingHTTPServer, tmp_path: Path, address: str
) -> None:
    _fails(server, tmp_path / "file", *[says(302, Location=address)] * 4)


def test_what_comes_compressed_is_refused_and_the_part_that_is_here_is_kept(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:10])
    message = _fails(server, tmp_path / "file", lambda handler, _: handler.answer(206, b"x", Content_Encoding="gzip"))
    assert "comes compressed (gzip), which was not asked for" in message
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:10]


@pytest.mark.parametrize(("start", "asked"), [(0, ["bytes=10-"]), (4, ["bytes=10-"]), (11, ["bytes=10-", None])])
def test_a_part_belongs_where_the_server_says_that_it_begins(
    server: ThreadingHTTPServer, tmp_path: Path, start: int, asked: list[str | None]
) -> None:
    def another_part(handler: Handler, _start: int) -> None:
        told = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        handler.answer(206, CONTENT[start:], Content_Range=told)

    (tmp_path / "file.part").write_bytes(CONTENT[:10])
    assert _fetch(server, tmp_path / "file", another_part).read_bytes() == CONTENT
    assert Handler.asked == asked


def test_a_part_of_another_file_is_refused(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:10])
    message = _fails(
        server, tmp_path / "file", lambda handler, _: handler.answer(206, b"", Content_Range="bytes 10-11/12")
    )
    assert "gave a part of 12 bytes instead of 1,024,000 bytes" in message
