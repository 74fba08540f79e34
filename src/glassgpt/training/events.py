"""What happens in a run, as values: the loop yields them, and whoever watches decides what to show.

The terminal draws them, the log writes some of them down, a test lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glassgpt.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Note:
    """One line that a person should read: what was chosen, what was noticed."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Started:
    """All is prepared; the first step comes next. `step` is above zero when a run is resumed."""

    config: RunConfig
    folder: Path
    step: int
    parameters: int
    train_tokens: int
    val_tokens: int
    epochs: float
    floor: float | None  # the loss that no model can beat, where we know it; for tales, in nats per character


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """A step was taken; yielded every `log_every` steps. `loss` is the mean since the last such event."""

    step: int
    tokens: int
    seconds: float  # of training so far, evaluations and pauses of a resumed run included
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_s: float
    mfu: float | None  # share of the hardware's peak, where that is known


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    step: int
    train_loss: float
    val_loss: float
    floor: float | None
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class Sampled:
    step: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Saved:
    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The run was asked to stop before its end; `glassgpt train --resume FOLDER` goes on."""

    step: int
    folder: Path
    signal: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    folder: Path
    steps: int
    seconds: float
    best_val_loss: float
    best_step: int
    floor: float | None
    files: Mapping[str, Path]  # what was left where: "best", "last", "log", "samples", and published copies


@dataclass(frozen=True, kw_only=True)
class Over:
    """A run that should go on, and was finished before."""

    folder: Path
    steps: int


Event = Note | Started | Stepped | Evaluated | Sampled | Saved | Stopped | Finished | Over
