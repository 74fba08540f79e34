"""`make pictures`: takes the pictures of the page that the documents show, from a real server with a real browser.

They lie in docs/pictures: each view in light, in dark and on a phone. The model is --run, else the run of tales in
runs/tales, which is trained first where there is none: some minutes. Figures of theory.md: `figures.py`.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # a clone works before it is installed
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # where browser.py lies

from PIL import Image

import glassgpt
from browser import launched, open_page, what_is_missing
from glassgpt.files import write_atomically

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "pictures"
FORMS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}
COLOURS_KEPT = 128  # nobody sees the rest, and the file is a third
STORY = "Once upon a time, Felix the fox was grumpy. He slept in a boot"


class Picture(NamedTuple):
    """A view: its address behind the server's, what stands there when it is drawn, and what a visitor then does."""

    address: str
    drawn: str
    then: Callable[[Page], object] = lambda page: None


def choose_a_head(page: Page) -> None:
    """Inside, the attention of one head at the beginning of a sentence."""
    page.locator(".token").nth(STORY.index("He slept")).click()
    page.get_by_role("button", name="layer 2, head 2").click()
    bring_up(page, "#view-attention")


def bring_up(page: Page, element: str) -> None:
    page.locator(element).evaluate("element => element.closest('section').scrollIntoView()")


PICTURES = {
    "inside": Picture(f"#inside?text={STORY}", "#view-embeddings", lambda page: bring_up(page, "#view-tokens")),
    "attention": Picture(f"#inside?text={STORY}", "#view-embeddings", choose_a_head),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of the page.")
    parser.add_argument("--run", help="a run of tales to show; left out, runs/tales, which is trained if need be")
    parser.add_argument("--only", choices=PICTURES, help="one view alone")
    parser.add_argument("--out", type=Path, default=OUT, help="where the pictures go")
    asked = parser.parse_args()
    missing = what_is_missing()
    if missing is not None:
        sys.exit(missing)
    chosen = [asked.only] if asked.only else list(PICTURES)
    with serving(asked.run or run_of_tales()) as server, launched() as browser:
        for name in chosen:
            for form in FORMS:
                write(shot(browser, server, PICTURES[name], form), asked.out / f"{name}-{form}.png")


def run_of_tales() -> str:
    folder = ROOT / "runs" / "tales"
    if not folder.is_dir():
        print("training a model of tales to show; --run RUN takes one that is there", flush=True)
        glassgpt.train(out=folder)
    return str(folder)


@contextmanager
def serving(run: str) -> Iterator[str]:
    """`glassgpt serve` as one types it, and its address."""
    command = [sys.executable, "-m", "glassgpt", "serve", run, "--port", "0", "--device", "cpu"]
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths})
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        if " at http" not in said:
            sys.exit(f"glassgpt serve {run} did not begin")  # why stands above: it says so itself
        yield said.rpartition(" at ")[2].strip().removesuffix("/v1")
    finally:
        server.terminate()
        server.communicate(timeout=60)


def shot(browser: Browser, server: str, picture: Picture, form: str) -> bytes:
    with open_page(browser, **FORMS[form]) as watched:
        watched.page.goto(f"{server}/{picture.address}")
        watched.page.locator(picture.drawn).wait_for()
        picture.then(watched.page)
        watched.must_be_clean(server.removeprefix("http://"))
        return watched.page.screenshot()


def write(png: bytes, path: Path) -> None:
    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS_KEPT).save(small, format="png", optimize=True)
    write_atomically(path, [small.getvalue()])
    print(f"{path}: {len(small.getvalue()) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
