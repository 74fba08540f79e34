"""`glassgpt serve`: a page to write with models, look inside and watch runs; and OpenAI's completions over HTTP."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from glassgpt.cli.chosen import aside
from glassgpt.cli.flags import Parser, whole
from glassgpt.errors import CheckpointError, ConfigError, MissingExtraError

if TYPE_CHECKING:
    from glassgpt.serve.limits import Access
    from glassgpt.serve.shelf import Shelf

USAGE = "[RUN | FOLDER] [--open] [--port N] [--host NAME --api-key KEY] [--slots N] [--queue N]"
EPILOG = """
examples:
  glassgpt serve                        all runs under runs/, at http://127.0.0.1:8000
  glassgpt serve --open                 and shows the page in the browser
  glassgpt serve runs/book --port 9000  one model
  glassgpt serve experiments            all runs of another folder
  GLASSGPT_API_KEY=... glassgpt serve --host 0.0.0.0

  curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
       -d '{"model": "book", "prompt": "The owl", "max_tokens": 40}'
"""
KEY = "GLASSGPT_API_KEY"


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    port = whole("--port", asked["port"], least=0, most=65535)
    slots = whole("--slots", asked["slots"], least=1, most=1024)
    queue = whole("--queue", asked["queue"], least=0, most=100_000)
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "serve")

    from glassgpt.serve.api import create_app
    from glassgpt.serve.desk import Desk
    from glassgpt.serve.limits import Limits
    from glassgpt.serve.server import Server, listening
    from glassgpt.serve.shelf import Shelf

    access, limits = _access(asked), Limits()
    shelf = Shelf(asked["RUN"], slots=slots, queue=queue, device=asked["device"], weights=asked["weights"])
    names = list(shelf.found())
    _try_newest(shelf, names)
    with listening(asked["host"], port) as own:
        desk = Desk(shelf)
        place, at = own.getsockname()[:2]
        address = f"http://{f'[{place}]' if ':' in place else place}:{at}"
        print(f"serving {_listed(names)} at {address}/v1", flush=True)
        _invite(address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"), opens=asked["open"])
        Server(create_app(desk, access, limits), desk, limits).run(sockets=[own])
    return 0


def _try_newest(shelf: Shelf, names: Sequence[str]) -> None:
    """What is wrong with the device or the newest model is told now; others can be served all the same."""
    try:
        with ThreadPoolExecutor(1) as moment:  # for why in a thread of its own see `serve/worker.py`
            moment.submit(shelf.take, names[0]).result()
    except CheckpointError as problem:
        if len(names) == 1:
            raise
        aside(f"{names[0]} cannot be served: {problem}")


def _invite(page: str, *, opens: bool) -> None:
    """The socket listens already, so a browser that comes now is answered as soon as the server runs."""
    print(f"open {page} in a browser to write, look inside, and watch runs; Ctrl-C ends it", flush=True)
    if not opens:
        return
    import webbrowser

    # Without a screen Python would open a browser in this very terminal.
    screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not screen or not webbrowser.open(page):
        aside("there is no browser to open here; the page can be opened from a machine that has one")


def _parser() -> Parser:
    parser = Parser("serve", USAGE, "A page in the browser for your models, and answers over HTTP.", epilog=EPILOG)
    parser.add_argument("RUN", nargs="?", help="a run, a checkpoint file, or a folder of runs (default: runs)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--host", metavar="NAME", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", default="8000", help="0 takes any that is free (default: 8000)")
    parser.add_argument(
        "--api-key", metavar="KEY", help=f"what clients must know; or set {KEY}, which ps does not show"
    )
    parser.add_argument("--slots", metavar="N", default="16", help="texts that are written at once (default: 16)")
    parser.add_argument("--queue", metavar="N", default="64", help="texts that may wait for a slot (default: 64)")
    parser.add_argument("--allow-host", metavar="NAME", action="append", help="another name that this server has")
    parser.add_argument("--allow-origin", metavar="URL", action="append", help="a web page's origin that may ask")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--weights", metavar="{fp32,bf16,int8}", default="fp32", help="of the models (default: fp32)")
    return parser


def _access(asked: dict[str, Any]) -> Access:
    from glassgpt.serve.limits import Access
    from glassgpt.serve.server import is_loopback

    host, key = asked["host"], asked["api_key"] if asked["api_key"] is not None else os.environ.get(KEY)
    if key is not None and (not key.strip() or not key.isascii() or not key.isprintable()):
        raise ConfigError(f"--api-key or {KEY} is empty or holds odd characters; a key is printable ASCII")
    if not is_loopback(host) and key is None:
        raise ConfigError(
            f"--host {host} lets others than this machine in; give --api-key KEY (or set {KEY}), or stay with 127.0.0.1"
        )
    everywhere = host in {"0.0.0.0", "::", ""}
    names = {name.lower().strip("[]") for name in (asked["allow_host"] or [])}
    names |= {socket.gethostname().lower()} if everywhere else {host.lower()}
    return Access(
        hosts=Access().hosts | names,
        any_address=everywhere,
        key=key.strip() if key else None,
        origins=frozenset(origin.rstrip("/") for origin in (asked["allow_origin"] or [])),
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
