"""What tests share: a cache of their own, a small text, and a small trained run to look at from outside."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import torch
from hypothesis import settings

from browser import browser_of_a_worker, driven
from glassgpt.data.prepare import Prepared
from glassgpt.errors import GlassgptError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Model = TypeVar("Model", bound=torch.nn.Module)
BOOK = "The owl flew over the sea, and the sea was calm. «Näin», said the owl.\n" * 40
TINY: dict[str, Any] = {
    "n_layers": 1, "d_model": 16, "n_heads": 2, "seq_len": 16, "max_seq_len": 32, "batch_size": 4,
    "device": "cpu", "precision": "fp32", "threads": 1,
}  # fmt: skip


def stirred(model: Model, *, by: float, seed: int = 2) -> Model:
    """The model with all its parameters random: zeros and ones would hide a weight that is never used."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=rng), alpha=by)
    return model


def refusal(action: Callable[[], object]) -> str:
    """The one line with which it is refused."""
    with pytest.raises(GlassgptError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def text_of(found: Prepared) -> str:
    """What both token files say."""
    return found.tokenizer.decode([*found.train_ids.tolist(), *found.val_ids.tolist()])


# A busy machine is slow now and then, and no claim of ours is about the time of one example.
settings.register_profile("glassgpt", deadline=None)
settings.load_profile("glassgpt")


@pytest.fixture(scope="session", autouse=True)
def short_samples() -> Iterator[None]:
    """A run shows less of what it has learned: longer than the small contexts here, so that windows slide all the same.

    A model of our sizes would write for longer than it learned. Commands in processes of their own are not shortened.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glassgpt.training.samples.SAMPLE_TOKENS", 40)
        patch.setattr("glassgpt.training.samples.TALE_TOKENS", 40)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from this machine's cache, or left there."""
    monkeypatch.setenv("GLASSGPT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("GLASSGPT_MIRROR", raising=False)


@pytest.fixture
def rhyme(tmp_path: Path) -> Path:
    """A small text with something to learn in it."""
    path = tmp_path / "rhyme.txt"
    lines = [f"{number} little mice sat down to spin, puss passed by and peeped in.\n" for number in range(60)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newcomer's folder: book.txt, and runs/book, trained on it for a moment."""
    import glassgpt

    folder = tmp_path_factory.mktemp("home")
    (folder / "book.txt").write_text(BOOK, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        _move_in(folder, patch)
        glassgpt.train("book.txt", max_steps=12, eval_every=6, save_every=6, **TINY)
    return folder


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test runs in the newcomer's folder, with a cache of its own."""
    _move_in(home, monkeypatch)
    return home


@pytest.fixture(scope="session")
def browser_of_this_worker() -> Iterator[tuple[Browser, AbstractEventLoop]]:
    yield from browser_of_a_worker()


@pytest.fixture
def browser(browser_of_this_worker: tuple[Browser, AbstractEventLoop]) -> Iterator[Browser]:
    """The system's Chromium, one for each worker; the test is skipped, with the reason, where there is none."""
    chromium, loop = browser_of_this_worker
    with driven(loop):
        yield chromium


def _move_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.setenv("GLASSGPT_CACHE", str(folder.with_name("cache-of-" + folder.name)))
