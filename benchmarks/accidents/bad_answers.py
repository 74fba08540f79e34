"""What servers, and what stands between them and us, have been seen to do to a download; and some worse things.

Each behaviour is one answer to one request for the bytes from `start` on. Which of them follow each other is decided in
`download_test.py`; the server is in `bad_server.py`.
"""

from __future__ import annotations

import gzip
import time
from email.utils import formatdate

from accidents.bad_server import Behaviour, Case, Handler

DRIP_S = 0.03  # for each byte: slower than anybody should wait for
TRICKLE_S = 0.005  # for each twentieth
ENDLESS_BYTES = 64 << 20  # nobody who watches the size reads as much; socket buffers hold a few megabytes
PAGE = b"<html><body>Welcome to the hotel. Please log in.</body></html>\n"


def cut(handler: Handler, case: Case, start: int) -> None:
    handler.give(case, case.content[start : case.place(start)], start=start, size=len(case.content) - start)


def flipped(handler: Handler, case: Case, start: int) -> None:
    content = bytearray(case.content)
    content[case.place(start)] ^= 1 << case.rng.randrange(8)
    handler.give(case, bytes(content[start:]), start=start)


def shorter(handler: Handler, case: Case, start: int) -> None:
    handler.give(case, case.content[start : case.place(start)], start=start)


def longer(handler: Handler, case: Case, start: int) -> None:
    handler.give(case, case.content[start:] + b"x" * case.rng.randint(1, 3000), start=start)


def page(handler: Handler, case: Case, _start: int) -> None:
    handler.begin(200, ("Content-Type", "text/html"), ("Content-Length", str(len(PAGE))))
    handler.pour(case, PAGE)


def page_as_long_as_the_file(handler: Handler, case: Case, _start: int) -> None:
    handler.begin(200, ("Content-Type", "text/html"))
    handler.pour(case, (PAGE * (len(case.content) // len(PAGE) + 1))[: len(case.content)])


def compressed(handler: Handler, case: Case, start: int) -> None:
    packed = gzip.compress(case.content[start:], mtime=0)
    handler.begin(206 if start else 200, ("Content-Encoding", "gzip"), ("Content-Length", str(len(packed))))
    handler.pour(case, packed)


def claims_less(handler: Handler, case: Case, start: int) -> None:
    handler.give(case, case.content[start:], start=start, size=(len(case.content) - start) // 2)


def claims_no_number(handler: Handler, case: Case, start: int) -> None:
    handler.begin(200, ("Content-Length", "\u00b2" if case.rng.random() < 0.5 else "9" * 5000))
    handler.pour(case, case.content[start:-1])


def whole_as_a_part(handler: Handler, case: Case, start: int) -> None:
    """206, and all of the file; half of such servers say so."""
    told = ("Content-Range", f"bytes 0-{len(case.content) - 1}/{len(case.content)}")
    handler.begin(206, *([told] if case.rng.random() < 0.5 else []))
    handler.pour(case, case.content)


def another_part(handler: Handler, case: Case, start: int) -> None:
    """206, and bytes from somewhere else; half of such servers say so."""
    other = case.place()
    told = ("Content-Range", f"bytes {other}-{len(case.content) - 1}/{len(case.content)}")
    handler.begin(206, *([told] if case.rng.random() < 0.5 else []))
    handler.pour(case, case.content[other:])


def part_of_another_file(handler: Handler, case: Case, start: int) -> None:
    handler.begin(206, ("Content-Range", f"bytes {start}-{len(case.content) + 9}/{len(case.content) + 10}"))
    handler.pour(case, bytes(len(case.content) + 10 - start))


def chunks_that_end_early(handler: Handler, case: Case, start: int) -> None:
    handler.begin(206 if start else 200, ("Transfer-Encoding", "chunked"))
    piece = case.content[start : case.place(start)]
    handler.pour(
        case, b"%x\r\n%s\r\n" % (len(piece), piece) + case.rng.choice([b"", b"ffff\r\nabc", b"zz\r\n", b"-5\r\n"])
    )


def hangs(handler: Handler, case: Case, start: int) -> None:
    cut(handler, case, start)
    handler.over.wait()


def hangs_at_once(handler: Handler, case: Case, start: int) -> None:
    handler.over.wait()


def drips(handler: Handler, case: Case, start: int) -> None:
    handler.begin(206 if start else 200, ("Content-Length", str(len(case.content) - start)))
    for place in range(start, len(case.content)):
        handler.pour(case, case.content[place : place + 1])
        if handler.over.wait(DRIP_S):
            return


def trickles(handler: Handler, case: Case, start: int) -> None:
    """All of it, in its own time: long enough to be killed at any moment of it, and just behind it."""
    handler.begin(206 if start else 200, ("Content-Length", str(len(case.content) - start)))
    piece = len(case.content) // 20 + 1
    for place in range(start, len(case.content), piece):
        handler.pour(case, case.content[place : place + piece])
        handler.over.wait(TRICKLE_S)


def never_ends(handler: Handler, case: Case, start: int) -> None:
    handler.begin(200)
    block = bytes(1 << 20)
    for _ in range(ENDLESS_BYTES // len(block)):
        handler.pour(case, block)
    case.read_without_end = True


def says(status: int, *headers: tuple[str, str]) -> Behaviour:
    def behave(handler: Handler, case: Case, start: int) -> None:
        handler.begin(status, ("Content-Length", "0"), *headers)

    return behave


def asks_for_a_pause(handler: Handler, case: Case, start: int) -> None:
    """429 or 503, and for how long, in each of the two ways, and in none."""
    when = case.rng.choice(
        ["0", "1", formatdate(time.time() + 1, usegmt=True), formatdate(0, usegmt=True), "soon", "\u00b2"]
    )
    says(case.rng.choice([429, 503]), ("Retry-After", when))(handler, case, start)


def leads_to(*addresses: str) -> Behaviour:
    """A redirect; `{local}`, `{elsewhere}` and `{path}` are filled in."""

    def behave(handler: Handler, case: Case, start: int) -> None:
        address = case.rng.choice(addresses)
        local = case.local.as_uri() if case.local else ""
        address = address.format(local=local, elsewhere=case.elsewhere, path=handler.path)
        says(case.rng.choice([301, 302, 303, 307, 308]), ("Location", address))(handler, case, start)

    return behave


def speaks_no_http(handler: Handler, case: Case, start: int) -> None:
    junk = [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200\r\n", b"HTTP/1.1 \x1b[31m\r\n\r\n", b"x" * 70_000]
    many_headers = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"
    handler.wfile.write(case.rng.choice([*junk, many_headers, b"HTTP/1.1 404 \x1b]0;owned\x07\r\n\r\n"]))
