"""A run's curves in other people's viewers: TensorBoard, and Weights & Biases.

Both only listen: they hear the events that everybody hears, and a server that is out of reach ends no training. Each
is a package that need not be there; whoever asks for one that is missing is told so before anything is done.
Our own log and pictures (`training/metrics.py`, `plot.py`) do not depend on any of this.
"""

from __future__ import annotations

import html
import importlib.util
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from glassgpt.config import RunConfig
from glassgpt.errors import MissingExtraError
from glassgpt.files import write_text
from glassgpt.settings import flat, to_yaml
from glassgpt.training.events import Evaluated, Event, Note, Sampled, Started, Stepped

PATIENCE_S = 30  # for a server that does not answer, at the beginning and again at the end


class Writer(Protocol):
    """Who is told what was measured."""

    name: str

    def numbers(self, step: int, values: Mapping[str, float]) -> None: ...

    def text(self, step: int, name: str, text: str) -> None: ...

    def close(self) -> None: ...


def require_trackers(config: RunConfig) -> None:
    """Refuse what was asked for and is not installed, before an old run is overwritten or a text is read."""
    asked = {"tensorboard": config.tensorboard, "wandb": config.wandb}
    for package, wanted in asked.items():
        if wanted and importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "track")


def tracked(events: Iterator[Event]) -> Iterator[Event]:
    """The events as they are; on their way, what they measured is written for the viewers that the run asks for."""
    writers: list[Writer] = []
    with ExitStack() as closing:  # also when the loop fails, or nobody wants the rest
        for event in events:
            if isinstance(event, Started):
                for writer, note in _open(event):
                    closing.callback(_close, writer)
                    writers.append(writer)
                    yield Note(text=note)
            for writer in list(writers):
                try:
                    _tell(writer, event)
                except Exception as problem:  # anybody's bug, a process that was killed, a disk that is full
                    writers.remove(writer)
                    yield Note(text=f"{writer.name} was lost ({problem}); the training goes on without it")
            yield event


def _close(writer: Writer) -> None:
    with suppress(Exception):  # nothing here may hide how the training itself ended
        writer.close()


def _open(started: Started) -> Iterator[tuple[Writer, str]]:
    require_trackers(started.config)
    if started.config.tensorboard:
        board = TensorBoard(started)
        yield board, f"curves for TensorBoard: tensorboard --logdir {board.folder}"
    if started.config.wandb:
        bridge = WeightsAndBiases(started)
        yield bridge, bridge.where


def _tell(writer: Writer, event: Event) -> None:
    if isinstance(event, Sampled):
        writer.text(event.step, "sample", event.text)
    elif isinstance(event, Stepped | Evaluated):
        writer.numbers(event.step, {name: value for name, value in _measured(event).items() if value is not None})


def _measured(event: Stepped | Evaluated) -> dict[str, float | None]:
    if isinstance(event, Evaluated):
        best = event.val_loss if event.is_best else None
        return {"loss/val": event.val_loss, "loss/floor": event.floor, "loss/best_val": best}
    return {
        "loss/train": event.loss,
        "optimizer/learning_rate": event.learning_rate,
        "optimizer/gradient_norm": event.gradient_norm,
        "speed/tokens_per_s": event.tokens_per_s,
        "speed/mfu": event.mfu,
    }


class TensorBoard:
    """Event files in the run's folder."""

    name = "TensorBoard"

    def __init__(self, started: Started) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = started.folder / "tensorboard"
        # What a killed run wrote behind its last checkpoint is measured again, and would stand there twice.
        after = started.step + 1 if started.step else 0
        self._writer: Any = SummaryWriter(str(self.folder), purge_step=after)
        self.text(started.step, "configuration", to_yaml(started.config, {}))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # somebody may be watching

    def text(self, step: int, name: str, text: str) -> None:
        lines = text.split("\n")
        self._writer.add_text(name, "\n".join(f"    {line}" for line in lines), step)  # Markdown for: as it stands

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of the project there; when it cannot be reached, files here that `wandb sync` brings there later."""

    name = "Weights & Biases"

    def __init__(self, started: Started) -> None:
        import wandb

        self._html = wandb.Html
        self.where = "curves for Weights & Biases: "
        try:
            self._run = _begin(started, mode=None)
        except wandb.errors.Error as problem:
            self._run = _begin(started, mode="offline")
            reason = str(problem).split("\n", 1)[0].rstrip(".")
            self.where = (
                f"Weights & Biases cannot be reached ({reason}); the training goes on, and its curves are kept: "
            )
        offline = Path(self._run.dir).parent
        self.where += f"wandb sync {offline}" if self._run.offline else str(self._run.url or "none (it is disabled)")
        self._run.define_metric("*", step_metric="step")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def text(self, step: int, name: str, text: str) -> None:
        self._run.log({"step": step, name: self._html(f"<pre>{html.escape(text)}</pre>", inject=False)})

    def close(self) -> None:
        self._run.finish()


def _begin(started: Started, *, mode: Literal["offline"] | None) -> Any:
    import wandb

    return wandb.init(
        project=started.config.wandb_project,
        name=started.folder.name,
        id=_stable_id(started),
        resume="allow",
        dir=str(started.folder),
        config=flat(started.config) | {"parameters": started.parameters},
        allow_val_change=True,  # a resumed run may have more steps than it began with
        mode=mode,
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False,
            init_timeout=PATIENCE_S, login_timeout=PATIENCE_S, finish_timeout=PATIENCE_S,
        ),
    )  # fmt: skip


def _stable_id(started: Started) -> str:
    """A resumed run goes on as the run that it was; a new one in an old folder is another."""
    file = started.folder / "wandb" / "id.txt"
    if started.step == 0 or not file.is_file():
        write_text(file, secrets.token_hex(8))
    return file.read_text(encoding="utf-8")
