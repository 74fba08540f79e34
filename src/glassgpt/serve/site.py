"""The page's own files, as a browser asks for them: `/`, and `/page/NAME` for each that lies in `pages/`.

The views of a trace, which a saved page has too, lie in `lab/pages`; here they stand beside the others.
Which names there are is found once, as the server begins: no path is made of what a client sends. The page may load
nothing from anywhere else, and run no script but these files; plotly's comes from the package of that name.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from glassgpt.lab.page import PAGES

INDEX, PLOTLY = "index.html", "plotly.min.js"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
NOTHING = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"  # of an empty style, which plotly fills by itself
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {NOTHING}; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class PageFile:
    path: Path

    @cached_property
    def content(self) -> bytes:
        return self.path.read_bytes()

    @cached_property
    def packed(self) -> bytes:
        return gzip.compress(self.content, mtime=0)

    @cached_property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def page_files() -> Mapping[str, PageFile]:
    """By name, all that a browser may have."""
    both = [*PAGES.iterdir(), *Path(__file__).with_name("pages").iterdir()]
    found = {path.name: PageFile(path) for path in sorted(both) if path.suffix in TYPES}
    plotly = importlib.util.find_spec("plotly")  # without it the page has no curves, and says so
    if plotly is not None and plotly.origin is not None:
        found[PLOTLY] = PageFile(Path(plotly.origin).parent / "package_data" / PLOTLY)
    return found


def add_page(app: FastAPI) -> None:
    files = page_files()

    @app.get("/")
    def index(request: Request) -> Response:
        return _sent(files[INDEX], request)

    @app.get("/page/{name}")
    def page(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, f"the page has no file {name!r}")
        return _sent(files[name], request)


def _sent(file: PageFile, request: Request) -> Response:
    """A browser asks each time whether it has changed, and mostly hears no: another version may be served tomorrow."""
    headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    take: Callable[[PageFile], bytes] = lambda one: one.content  # noqa: E731
    if "gzip" in request.headers.get("accept-encoding", ""):
        take, headers = (lambda one: one.packed), headers | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(take(file), headers=headers, media_type=TYPES[file.path.suffix])
