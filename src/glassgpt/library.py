"""What `import glassgpt` offers: load a model and let it write; train one.

    lm = glassgpt.load("runs/tales")
    print(lm.generate("Once upon a time", max_new_tokens=200, temperature=0.8, seed=1))
    run = glassgpt.train(data="book.txt", preset="mini_gpt", max_steps=200)
    print(run.best_val_loss, run.load().generate("It was"))

The command line is another face of the same parts; nothing is computed in either.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from glassgpt import settings
from glassgpt.checkpoint import Checkpoint
from glassgpt.config import Weights
from glassgpt.data import tales
from glassgpt.device import choose_device
from glassgpt.errors import RunError
from glassgpt.lab.track import require_trackers, tracked
from glassgpt.model.base import Predictor
from glassgpt.recovery import find_whole
from glassgpt.sampling.generate import TokenEvent, write
from glassgpt.sampling.price import Price, price
from glassgpt.sampling.reader import Writer
from glassgpt.text.base import Tokenizer
from glassgpt.training import loop
from glassgpt.training.events import Event, Finished, Stopped
from glassgpt.training.parallel import my_team


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A trained model with its tokenizer, ready to write."""

    model: Predictor
    tokenizer: Tokenizer
    checkpoint: Checkpoint

    @cached_property
    def writer(self) -> Writer:
        """The model made ready, once for all that it writes."""
        return Writer(self.model)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids)

    @property
    def opening(self) -> str:
        """The prompt of whoever has none: for tales the end of another story, else the run's `sample_prompt`."""
        return tales.BEFORE if self.tells_tales else str(self.checkpoint.settings["sample_prompt"])

    @property
    def tells_tales(self) -> bool:
        return tales.are_all_of(self.checkpoint.settings["data"])

    def shown(self, prompt: str | None) -> str:
        """What of the prompt belongs to the text: not the end of another story."""
        return prompt or ("" if self.tells_tales else self.opening)

    def generate(self, prompt: str | None = None, **sampling: Any) -> str:
        """The prompt and what the model writes behind it. Of several samples (`num_samples`), see `samples`."""
        return self.samples(prompt, **(sampling | {"num_samples": 1}))[0]

    def samples(self, prompt: str | None = None, **sampling: Any) -> list[str]:
        """`num_samples` texts, each beginning with the prompt."""
        texts = [self.shown(prompt)] * settings.sampling(sampling).num_samples
        for event in self.stream(prompt, **sampling):
            texts[event.sample] += event.text
        return texts

    def stream(self, prompt: str | None = None, **sampling: Any) -> Iterator[TokenEvent]:
        """Tokens as they come, with their probabilities; the settings are those of `glassgpt sample`."""
        return write(self.writer, self.tokenizer, prompt or self.opening, settings.sampling(sampling))

    def price(self, weights: Weights) -> Price:
        """What lighter weights cost in loss, on text that the model itself writes."""
        return price(self.writer, weights, self.encode(self.opening))


def load(
    run: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    unknown: Literal["error", "skip", "replace"] = "error",
) -> LanguageModel:
    """The best model of a run folder, or the one in a checkpoint file; left out, that of the newest run."""
    found = find_whole(None if run is None else Path(run))
    for note in found.notes:
        warnings.warn(note, stacklevel=2)
    return ready(found.checkpoint, device=device, unknown=unknown)


def ready(
    checkpoint: Checkpoint, *, device: str = "auto", unknown: Literal["error", "skip", "replace"] = "error"
) -> LanguageModel:
    """The model of a checkpoint that was read already."""
    chosen, _ = choose_device(device)
    return LanguageModel(
        model=checkpoint.model(chosen), tokenizer=checkpoint.tokenizer(unknown=unknown), checkpoint=checkpoint
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: what it reached, and where its files lie."""

    folder: Path
    steps: int
    seconds: float
    best_val_loss: float
    best_step: int
    floor: float | None
    files: Mapping[str, Path]

    def load(self, *, device: str = "auto") -> LanguageModel:
        return load(self.folder, device=device)

    def model(self, *, device: str = "auto") -> Predictor:
        return self.load(device=device).model


Text = str | os.PathLike[str]


def train(
    data: Text | Sequence[Text] | None = None,
    *,
    preset: str | None = None,
    config: Text | None = None,
    overwrite: bool = False,
    numbered: bool = False,
    on_event: Callable[[Event], object] | None = None,
    **choices: Any,
) -> Run:
    """Train a model and wait for it; quiet, unless `on_event` says something.

    Choices are the settings of `glassgpt train --help`, under anybody's names: `train("book.txt", n_layer=2, lr=1e-3)`.
    """
    if data is not None:
        choices["data"] = [data] if isinstance(data, str | os.PathLike) else list(data)
    file = None if config is None else os.fspath(config)
    chosen = settings.resolve(preset=preset, file=file, flags=_plain(choices))
    require_trackers(chosen.config)
    return _watch(loop.train(chosen, overwrite=overwrite, numbered=numbered), on_event)


def resume(run: Text, *, on_event: Callable[[Event], object] | None = None, **changes: Any) -> Run:
    """Go on with a run that was stopped, or (`max_steps=...`) for longer than was planned."""
    named = settings.canonical(_plain(changes), place="resume()")
    return _watch(loop.resume(Path(run), named), on_event)


def _plain(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Paths to texts: a configuration is written into files."""
    return {name: _as_text(value) for name, value in choices.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _watch(events: Iterator[Event], on_event: Callable[[Event], object] | None) -> Run:
    from glassgpt.lab.picture import with_picture

    last: Event | None = None
    for last in tracked(with_picture(events)) if my_team().leads else events:
        if on_event is not None:
            on_event(last)
    if isinstance(last, Finished):
        return Run(**{field.name: getattr(last, field.name) for field in fields(Run)})
    if isinstance(last, Stopped):
        raise KeyboardInterrupt(f"stopped at step {last.step}; go on with glassgpt.resume({str(last.folder)!r})")
    raise RunError("this run is finished already; give a larger max_steps to go on")
