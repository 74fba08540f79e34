"""A run on the screen: a live bar on a terminal, plain lines in a file or a pipe, from the same words.

What happens is told by `training/events.py`; here each event becomes the text that a person reads.
"""

from __future__ import annotations

import os
import sys
import textwrap
from functools import singledispatch
from types import TracebackType
from typing import TYPE_CHECKING

from glassgpt.cli.terminal import our_name
from glassgpt.config import ModelConfig
from glassgpt.training.events import Evaluated, Event, Finished, Note, Over, Sampled, Saved, Started, Stepped, Stopped
from glassgpt.wording import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WHAT_LIES_WHERE = {
    "best": "the best model",
    "last": "the last step, with all that --resume needs",
    "log": "the losses, for a table",
    "samples": "what it wrote on its way",
    "picture": "its curve",
    "config": "every setting",
}
SAMPLE_LINES = 24  # three stories; samples.txt keeps all


def choose_display() -> PlainDisplay:
    return LiveDisplay() if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else PlainDisplay()


class PlainDisplay:
    """One line, or a few, for every event."""

    deaf = False  # nobody reads any more: `glassgpt train | head`

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        pass

    def show(self, event: Event) -> None:
        self.say(describe(event))

    def say(self, text: str) -> None:
        if not text or self.deaf:
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            self.deaf = True


class LiveDisplay(PlainDisplay):
    """A bar at the foot of the terminal; what stays is printed above it."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._losses: dict[str, float] = {}

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._end_bar()

    def show(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self._losses["loss"] = event.loss
            self._advance(event.step, f"{event.tokens_per_s:,.0f} tokens/s")
            return
        if isinstance(event, Saved):  # said once at the end; in between, the bar is enough
            return
        if isinstance(event, Finished | Stopped):
            self._end_bar()
        self.say(describe(event))
        if isinstance(event, Started):
            self._begin_bar(event)
        if isinstance(event, Evaluated):
            self._losses["val"] = event.val_loss
            self._advance(event.step)

    def say(self, text: str) -> None:
        if self._progress is None:
            super().say(text)
        elif text:
            self._progress.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def _begin_bar(self, event: Started) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[speed]}", style="dim"),
            TimeRemainingColumn(compact=True),
            TextColumn("left", style="dim"),
            console=Console(highlight=False),
            transient=True,
            refresh_per_second=4,  # each refresh takes time from the training
        )
        if event.floor is not None:
            self._losses["floor"] = event.floor
        self._task = self._progress.add_task("", total=event.config.training.max_steps, completed=event.step, speed="")
        self._progress.start()

    def _advance(self, step: int, speed: str | None = None) -> None:
        if self._progress is None or self._task is None:
            return
        losses = "  ".join(f"{name} {value:.3f}" for name, value in self._losses.items())
        self._progress.update(self._task, completed=step, description=losses)
        if speed is not None:
            self._progress.update(self._task, speed=speed)

    def _end_bar(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@singledispatch
def describe(event: Event) -> str:
    """The event as text for a person."""
    raise AssertionError(f"no words for {event}")


@describe.register
def _(event: Note) -> str:
    return event.text


@describe.register
def _(event: Started) -> str:
    config, again = event.config, f", from step {event.step}" if event.step else ""
    model = config.model
    vocabulary = f", {model.vocab_size:,} different ones" if model.vocab_size else ""
    lines = [
        f"text   {' '.join(config.data.data)}: {event.train_tokens:,} tokens to learn from, "
        f"{event.val_tokens:,} held out{vocabulary}; read {event.epochs:.1f} times",
        f"model  {event.parameters:,} parameters: {_shape(model)}",
    ]
    if event.floor is not None:
        lines.append(f"floor  {event.floor:.3f} nats per character: the stories' own chance; no model can do better")
    lines.append(f"run    {event.folder}: {config.training.max_steps:,} steps{again}; Ctrl-C stops and keeps it")
    return "\n".join(lines)


def _shape(model: ModelConfig) -> str:
    if model.architecture == "bigram":
        return "a table of what follows each token"
    shape = f"{counted(model.n_layers, 'layer')} of {counted(model.n_heads, 'head')}"
    return f"{shape}, width {model.d_model}, context {model.max_seq_len}"


@describe.register
def _(event: Stepped) -> str:
    mfu = f"  {event.mfu:.0%} of the peak" if event.mfu is not None else ""
    return (
        f"step {event.step:>6,}  loss {event.loss:.4f}  lr {event.learning_rate:.2e}  "
        f"gradient {event.gradient_norm:.2f}  {event.tokens_per_s:,.0f} tokens/s{mfu}"
    )


@describe.register
def _(event: Evaluated) -> str:
    floor = f"  floor {event.floor:.4f}" if event.floor is not None else ""
    best = "  (the best so far)" if event.is_best else ""
    return f"step {event.step:>6,}  val {event.val_loss:.4f}  train {event.train_loss:.4f}{floor}{best}"


@describe.register
def _(event: Sampled) -> str:
    lines = event.text.strip("\n").split("\n")
    shown = lines[:SAMPLE_LINES] + (["..."] if len(lines) > SAMPLE_LINES else [])
    body = "\n".join(textwrap.fill(line, 100) for line in shown)
    return f"\nat step {event.step:,} it writes:\n{textwrap.indent(body, '    ', lambda _: True)}\n"


@describe.register
def _(event: Saved) -> str:
    return f"step {event.step:>6,}  saved {event.path}"


@describe.register
def _(event: Stopped) -> str:
    return f"stopped at step {event.step:,}; nothing is lost. Go on with:\n  {our_name()} train --resume {event.folder}"


@describe.register
def _(event: Over) -> str:
    return f"{event.folder} is finished: {event.steps:,} steps; a larger --max-steps goes on"


@describe.register
def _(event: Finished) -> str:
    floor = f", where {event.floor:.4f} is the floor" if event.floor is not None else ""
    lines = [f"done: {event.steps:,} steps in {_duration(event.seconds)}; "]
    lines[0] += f"best val loss {event.best_val_loss:.4f} at step {event.best_step:,}{floor}"
    width = max((len(str(path)) for path in event.files.values()), default=0)
    lines += [f"  {path!s:{width}}  {WHAT_LIES_WHERE.get(name, 'a copy')}" for name, path in event.files.items()]
    lines += ["next:", f"  {our_name()} sample {event.folder}", f"  {our_name()} eval {event.folder}"]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
