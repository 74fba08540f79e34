"""Ten thousand hostile requests to a real server, and clients that leave, crowd or dawdle: what becomes of it.

    python benchmarks/serve_fuzz.py                     about three minutes
    python benchmarks/serve_fuzz.py --requests 500

The server of the fuzzed requests is `glassgpt serve` in a process of its own, so that its memory and open files can be
counted from outside (Linux). A request that is whole must be answered within thirty seconds, and never by 5xx. Who
leaves, crowds or dawdles meets the same server in this process, where its steps can be counted.
"""

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it; the model is tiny
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from common import ROOT, options
from promises import Promise, told
from serving import make_run as random_run

import glassgpt
from glassgpt.text.chars import CharTokenizer
from served import Running, serving

SEED, HANG_S, PARALLEL, WARM = 1, 30.0, 8, 2000
LATE_STEPS = 1
BOOK = "The owl flew over the sea, and the sea was calm. Then said the owl: how wide it is.\n" * 40
TINY: dict[str, Any] = {"n_layers": 1, "d_model": 16, "n_heads": 2, "seq_len": 16, "max_seq_len": 32}
ODD: list[Any] = [
    -1, 0, 1, 2, 16, 17, 10**9, -(10**18), 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), True, False, None, "",
    "The", "\x00", "\ud800", "\u4e16", "\U0001f9ff", "a" * 5000, "<script>alert(1)</script>", "../../etc/passwd", [],
    {}, [[]], [1, "a"], [0, 1, 2], [[1], [2, 3]], [-1], [10**12], {"a": {"b": {}}}, ["The"] * 40, [None],
]  # fmt: skip
FIELDS = [
    "model", "prompt", "n", "max_tokens", "temperature", "top_p", "stop", "seed", "stream", "stream_options",
    "logprobs", "echo", "top_k", "min_p", "repetition_penalty", "best_of", "suffix", "logit_bias", "user", "unknown",
]  # fmt: skip
PATHS = [
    "/v1/completions", "/v1/chat/completions", "/v1/models", "/v1/models/book", "/v1/models/../../etc/passwd",
    "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/health", "/metrics", "/", "//", "/%00", "/%ff", "/v1/completions/",
    "/v1/models/" + "x" * 3000, "*", "http://evil.example/", "/page/base.js", "/page/../api.py",
    "/page/%2e%2e%2fapi.py", "/page/plotly.min.js", "/glass/models/book", "/glass/models/%00", "/glass/inside",
    "/glass/runs", "/glass/runs/book",
    "/glass/runs/..%2fbook", "/glass/follow?run=book%00", "/glass/follow?run=none",
]  # fmt: skip
HEADERS = [
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Host: evil.example", b"Origin: null", b"Origin: https://evil.example",
    b"Authorization: Bearer \xff", b"Content-Type: text/plain", b"Content-Type: \x80", b"Content-Encoding: gzip",
    b"Expect: 100-continue", b"Upgrade: websocket\r\nConnection: Upgrade", b"Range: bytes=0-", b"X: " + b"y" * 20_000,
    b"Cookie: " + b"a=b;" * 100, b": nameless", b"Bad Name: x", b"X-Null: \x00",
]  # fmt: skip


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="fuzzed ones (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_run(Path(folder))
        promises = fuzzed(Path(folder), asked.requests, asked.seed)
        with serving(Path(folder) / "runs", slots=4, queue=40) as server:
            promises += [crowd(server, asked.seed), dawdlers(server, asked.seed)]
        random_run(Path(folder) / "full-size" / "book", None, CharTokenizer(map(chr, range(32, 127))))
        with serving(Path(folder) / "full-size") as server:
            promises.append(leavers(server, asked.seed))
    return told("serve_fuzz", promises)


def make_run(folder: Path) -> None:
    (folder / "book.txt").write_text(BOOK, encoding="utf-8")
    os.environ["GLASSGPT_CACHE"] = str(folder / "cache")
    glassgpt.train(
        folder / "book.txt", out=str(folder / "runs" / "book"), max_steps=4, eval_every=2, save_every=2, batch_size=4,
        device="cpu", precision="fp32", threads=1, **TINY,
    )  # fmt: skip


# --- fuzzed requests --------------------------------------------------------------------------------------------------


def fuzzed(folder: Path, count: int, seed: int) -> list[Promise]:
    begin = time.perf_counter()
    statuses: Counter[str] = Counter()
    with child(folder) as (port, number):
        with ThreadPoolExecutor(PARALLEL) as pool:  # what a server allocates once is not what it loses
            list(pool.map(lambda trial: try_one(port, seed + 1_000_000 + trial), range(WARM)))
        before, files_before = resident(number), open_files(number)
        with ThreadPoolExecutor(PARALLEL) as pool:
            statuses.update(pool.map(lambda trial: try_one(port, seed + trial), range(count)))
        time.sleep(1)
        after, files_after = resident(number), open_files(number)
        alive = try_one(port, None) == "200"
    seconds = time.perf_counter() - begin
    print("answers:", dict(sorted(statuses.items())))
    errors = sum(times for status, times in statuses.items() if status.startswith("5"))
    more = after / before - 1  # beside what it was after the first WARM
    kept = {"seed": seed, "seconds": seconds}
    return [
        Promise(promise="fuzzed requests: never a 5xx", tried=count, failed=errors, **kept),
        Promise(promise="fuzzed requests: never a hang", tried=count, failed=statuses["hang"] + (not alive), **kept),
        Promise(promise="memory after them: +5 % at most", tried=1, failed=more > 0.05, figure=f"{more:+.1%}", **kept),
        Promise(
            promise="open files after them: as before", tried=1, failed=files_after > files_before,
            figure=f"{files_before} -> {files_after}", **kept,
        ),
    ]  # fmt: skip


@contextmanager
def child(folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process number."""
    command = [sys.executable, "-m", "glassgpt", "serve", str(folder / "runs"), "--port", "0", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rsplit(":", 1)[1].removesuffix("/v1\n")), process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def resident(number: int) -> int:
    lines = Path(f"/proc/{number}/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def open_files(number: int) -> int:
    return len(list(Path(f"/proc/{number}/fd").iterdir()))


def try_one(port: int, seed: int | None) -> str:
    """The status, or what came instead of one."""
    whole, raw = (True, request_of({"max_tokens": 1})) if seed is None else a_request(random.Random(seed))
    deadline = time.monotonic() + (HANG_S if whole else 0.05)
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
            connection.sendall(raw)
            while time.monotonic() < deadline:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                piece = connection.recv(1 << 16)
                received += piece
                if not piece:
                    break
    except TimeoutError:
        pass
    except ConnectionError:
        return "cut"
    if whole and time.monotonic() >= deadline:
        return "hang"  # also when an answer had begun
    if received.startswith(b"HTTP/1.1 100"):  # "go on": the answer stands behind it
        received = received.partition(b"\r\n\r\n")[2]
    return received[9:12].decode("ascii", "replace") if received.startswith(b"HTTP/1.1 ") else "nothing"


def a_request(rng: random.Random) -> tuple[bool, bytes]:
    """Whether it is whole, so that an answer must come, and its bytes."""
    kind = rng.choice(["fields", "fields", "fields", "inside", "bytes", "headers", "paths", "deep", "cut"])
    body = {"max_tokens": rng.choice([1, 3, 20])} | {
        rng.choice(FIELDS): rng.choice(ODD) for _ in range(rng.choice([0, 1, 1, 2, 5]))
    }
    if kind == "fields":
        return True, request_of(body)
    if kind == "inside":
        asked = {"model": "book", "text": "The owl"} | {rng.choice(["model", "text", "unknown"]): rng.choice(ODD)}
        return True, request_of(json.dumps(asked).encode(), path="/glass/inside")
    if kind == "deep":
        depth = rng.choice([10, 500, 5_000, 100_000])
        return True, request_of(rng.choice([b"[", b'{"a":', b'{"model":"book","prompt":[']) * depth)
    if kind == "paths":
        method = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW"])
        return method != "HEAD", request_of(body, path=rng.choice(PATHS), method=method)
    if kind == "headers":
        return False, request_of(body, more=rng.sample(HEADERS, rng.choice([1, 2, 4])))
    raw = bytearray(request_of(body))
    if kind == "cut":
        return False, bytes(raw[: rng.randrange(len(raw))])
    for _ in range(rng.choice([1, 3, 20])):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return False, bytes(raw)


def request_of(body: Any, *, path: str = "/v1/completions", method: str = "POST", more: list[bytes] = []) -> bytes:  # noqa: B006
    content = body if isinstance(body, bytes) else json.dumps({"model": "book", "prompt": "The"} | body).encode()
    head = [
        f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Content-Type: application/json",
        b"Content-Length: %d" % len(content), b"Connection: close", *more,
    ]  # fmt: skip
    return b"\r\n".join(head) + b"\r\n\r\n" + content


# --- who leaves, crowds, dawdles --------------------------------------------------------------------------------------


def leavers(server: Running, seed: int, *, count: int = 100) -> Promise:
    """Each leaves the default model after a random number of bytes; the steps that begin behind that are counted."""
    begin, rng, steps = time.perf_counter(), random.Random(seed), []
    for trial in range(count):
        connection = server.send_request(max_tokens=4000, stream=trial % 2 == 0)
        wanted = rng.randrange(20_000) if trial % 2 == 0 else 0
        while wanted > 0:
            wanted -= len(connection.recv(min(wanted, 4096)))
        if trial % 2:
            time.sleep(rng.random() / 20)
        connection.close()
        at_close = server.steps
        server.until_idle()
        steps.append(server.steps - at_close)
    late = sum(one > LATE_STEPS for one in steps)
    return Promise(
        promise=f"clients that leave: at most {LATE_STEPS} step begins after it", tried=count, failed=late, seed=seed,
        seconds=time.perf_counter() - begin, figure=f"median {statistics.median(steps):g}, most {max(steps)}",
    )  # fmt: skip


def crowd(server: Running, seed: int, *, count: int = 200) -> Promise:
    begin = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        statuses = Counter(pool.map(lambda _: server.complete(max_tokens=30)[0], range(count)))
    server.until_idle()
    return Promise(
        promise="requests at once: written, or refused with 429", tried=count,
        failed=count - statuses[200] - statuses[429], seed=seed, seconds=time.perf_counter() - begin,
        figure=f"{statuses[200]} written, {statuses[429]} refused",
    )  # fmt: skip


def dawdlers(server: Running, seed: int, *, count: int = 200) -> Promise:
    """Slow senders drip a byte at a time; an honest client's requests are timed without them and beside them."""
    begin = time.perf_counter()

    def honest() -> float:
        times = []
        for _ in range(60):
            start = time.perf_counter()
            assert server.complete(max_tokens=20)[0] == 200
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    honest()
    quiet = honest()
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        dripping = pool.submit(drip, server, count, over)
        time.sleep(0.5)
        beside = honest()
        over.set()
        dripping.result()
    return Promise(
        promise=f"beside {count} slow senders, latency at most doubles", tried=1, failed=beside > 2 * quiet, seed=seed,
        seconds=time.perf_counter() - begin, figure=f"{1000 * quiet:.1f} -> {1000 * beside:.1f} ms",
    )  # fmt: skip


def drip(server: Running, count: int, over: threading.Event) -> None:
    connections = [server.dial() for _ in range(count)]
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000
    for byte in head:
        for connection in connections:
            try:
                connection.sendall(bytes([byte]))
            except OSError:  # it was cut, as it should be
                continue
        if over.wait(0.05):
            break
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
