"""Strangers write into the page: script and markup at every place that text can reach, paths, and routes without a key.

    python benchmarks/page_test.py                      all of it, in the system's Chromium; some ten minutes
    python benchmarks/page_test.py --texts 5

A real server shows fifty runs, each called like one text of `accidents/injections.py`, with a model that writes it; a
real browser visits every view. What must not happen: that it runs, becomes an element, asks anybody else, opens a
dialog, leaves the page, or makes the browser refuse something.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch reads it; the models are tiny
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from accidents.injections import INJECTIONS, as_name, make_run
from accidents.page_places import PLACES, Visit, visit
from common import options
from promises import Promise, told

import glassgpt
from browser import launched, what_is_missing
from glassgpt.lab.page import saved_page
from glassgpt.sampling.trace import trace
from glassgpt.serve.limits import Access
from served import Running, serving
from test_site import NO_MODELS, WAYS_OUT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PLAIN, KEY = "book", "s3cret"
BASIC = {pair: "Basic " + base64.b64encode(pair.encode()).decode() for pair in ("any:s3cret", "any:guess", "s3cret")}
RIGHT_KEYS = (f"Bearer {KEY}", BASIC["any:s3cret"])
WRONG_KEYS = ("Bearer guess", "Bearer", "Bearer s3cre", f"Basic {KEY}", KEY, BASIC["any:guess"], BASIC["s3cret"])


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--texts", type=int, default=len(INJECTIONS), help="of the fifty (default: all)")
    asked = parser.parse_args()
    if missing := what_is_missing():
        sys.exit(missing)
    with tempfile.TemporaryDirectory() as folder, launched() as browser:
        promises = injected(browser, Path(folder), INJECTIONS[: asked.texts])
        with serving(Path(folder) / "runs", preload=None) as server:
            promises.append(paths(server))
        with serving(Path(folder) / "runs", preload=None, access=Access(key=KEY)) as server:
            promises.append(keys(server))
    return told("page_test", promises)


def injected(browser: Browser, folder: Path, texts: Sequence[str]) -> list[Promise]:
    begin, broken, moments = time.perf_counter(), 0, 0
    make_runs(folder / "runs", texts)
    with serving(folder / "runs", preload=None) as server:
        for text in texts:
            made = bring(browser, f"http://127.0.0.1:{server.port}", folder, text)
            moments += made.moments
            for place, wrong in made.wrong.items():
                broken += bool(wrong)
                if wrong:
                    print(place, repr(text), *wrong, sep="\n    ", flush=True)
    what = f"{len(texts)} injections at {len(PLACES)} places of the page: shown, and never run or made an element"
    kept: dict[str, Any] = {"seed": 0, "seconds": time.perf_counter() - begin}
    asked = "views looked at meanwhile: nobody else was asked, nothing said on the console"
    return [
        Promise(promise=what, tried=len(texts) * len(PLACES), failed=broken, **kept),
        Promise(promise=asked, tried=moments, failed=broken, **kept),
    ]


def make_runs(runs: Path, texts: Sequence[str]) -> None:
    make_run(runs / PLAIN, "The owl.")
    for text in texts:
        make_run(runs / as_name(text), text)


def bring(browser: Browser, server: str, folder: Path, text: str, **how: Any) -> Visit:
    name = as_name(text)
    saved = saver(folder / "runs" / name, folder, text)
    return visit(browser, text, name, server=server, other=PLAIN, saved=saved, **how)


def saver(run: Path, folder: Path, text: str) -> Callable[[str], Path]:
    """Writes a saved page with the text at one place, as `glassgpt inspect --html` does."""

    def saved(place: str) -> Path:
        lm = glassgpt.load(run, device="cpu")
        seen = trace(lm.model, lm.tokenizer, text if place == "prompt" else "The").as_json()
        called = {"run": text if place == "model" else PLAIN, "step": 20, "form": PLAIN}
        path = folder / "saved.html"
        path.write_text(saved_page({"model": called} | seen), encoding="utf-8")
        return path

    return saved


# --- without a browser ------------------------------------------------------------------------------------------------


def paths(server: Running) -> Promise:
    """Each sent as it stands: no client tidies it up before."""
    begin = time.perf_counter()
    routes = ("page", "glass/models", "v1/models", "glass/runs", "glass/follow?run=")
    tried = [f"/{route}/{way}" for route in routes for way in (*WAYS_OUT.split(), *NO_MODELS.split())]
    through = [path for path in tried if leads_out(server, path)]
    print(*(f"leads out: {path}" for path in through), sep="\n", end="")
    return Promise(
        promise="paths out of the page's files and out of the runs: none leads there", tried=len(tried),
        failed=len(through), seed=0, seconds=time.perf_counter() - begin,
    )  # fmt: skip


def leads_out(server: Running, path: str) -> bool:
    return not 400 <= status_of(server, "GET", path) < 500


def status_of(server: Running, method: str, path: str, *headers: str) -> int:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    with server.dial() as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return int(answer[9:12])


def keys(server: Running) -> Promise:
    """Every route that the application has, by every method: refused without the key, and not with it."""
    begin = time.perf_counter()
    known = {(method, route.path) for route in server.app.routes for method in route.methods}  # type: ignore[attr-defined]
    asked = known | {(method, path) for _, path in known for method in ("HEAD", "OPTIONS")}
    failed = tried = 0
    for method, route in sorted(asked - {(method, "/health") for method, _ in asked}):
        path = route.replace("{name}", PLAIN).replace("/follow", "/follow?run=none")
        for given in ("", *WRONG_KEYS, *RIGHT_KEYS):
            status = status_of(server, method, path, *([f"Authorization: {given}"] if given else []))
            tried, failed = tried + 1, failed + ((status == 401) is (given in RIGHT_KEYS))
    return Promise(
        promise="routes and methods with no key, a wrong one, the right one: all but /health want it", tried=tried,
        failed=failed, seed=0, seconds=time.perf_counter() - begin,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
