"""Where the time of a training step goes, part by part, and which part of it the machine could not do without.

The real step (`training/step.py`) runs eagerly with a mark at every border: whatever passes between two marks is
charged to the part in whose name the first was made, so the parts add up to the whole. The way back is marked by
hooks at the same borders. What each part has to do at least is told in `work.py`; `cli/profile.py` shows both.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glassgpt.checkpoint import Checkpoint, save_checkpoint, weights_of
from glassgpt.lab.bench import Subject, trainer_for
from glassgpt.lab.stopwatch import time_calls, time_once, wait_for
from glassgpt.lab.work import ATTENTION, BATCH, CLIPPING, EMBEDDING, HEAD, MLP, NORMS, OPTIMIZER, REST
from glassgpt.model.count import FP32
from glassgpt.text.base import id_dtype
from glassgpt.training.evaluate import evaluate
from glassgpt.training.step import Trainer

FORWARD, BACKWARD = "forward", "backward"
COPIED_BYTES = 256 << 20  # far more than any cache holds
KIND = {"attention": ATTENTION, "mlp": MLP, "norm": NORMS, "shift": NORMS}  # by the end of a module's name

Charged = dict[tuple[str, str], float]  # seconds of one step, by part and direction


@dataclass(frozen=True, kw_only=True)
class Profile:
    step_s: float  # without marks
    marked_s: float  # with them: what the parts add up to
    parts: Charged
    evaluation_s: float  # of one batch
    saving_s: float  # of one checkpoint with the optimizer's memory
    saved_bytes: int
    memory_rate: float  # bytes a second, read and written


class Marks:
    """A clock that charges what passed since the last mark to whoever made that."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.charged = device, defaultdict[tuple[str, str], float](float)
        self._owner, self._since = (REST, FORWARD), time.perf_counter()

    def now(self, part: str, direction: str = FORWARD) -> None:
        wait_for(self.device)
        moment = time.perf_counter()
        self.charged[self._owner] += moment - self._since
        self._owner, self._since = (part, direction), moment

    def at(self, part: str, direction: str = FORWARD) -> Callable[..., None]:
        """For a hook, whose arguments say nothing that matters here."""
        return lambda *_: self.now(part, direction)


def profile(subject: Subject, *, seconds: float) -> Profile:
    """Takes the model apart as it is trained; compiled code has no borders, so all is measured eagerly."""
    trainer = trainer_for(subject)
    trainer.forward = trainer.model
    device, steps = subject.device, iter(range(1 << 62))
    plain = time_calls(lambda: trainer.take_step(next(steps)), seconds=seconds, device=device)
    marked: list[Charged] = []
    with _marked(trainer) as marks:
        time_calls(lambda: marked.append(_one_step(trainer, marks, next(steps))), seconds=seconds, device=device)
    keys = {key for charged in marked for key in charged}
    parts = {key: statistics.median(charged.get(key, 0.0) for charged in marked[1:]) for key in keys}
    saving_s, saved_bytes = _saving(subject, trainer)
    return Profile(
        step_s=plain.median_s, marked_s=sum(parts.values()), parts=parts, evaluation_s=_evaluation_s(subject, seconds),
        saving_s=saving_s, saved_bytes=saved_bytes, memory_rate=memory_rate(device, seconds=seconds / 3),
    )  # fmt: skip


def _one_step(trainer: Trainer, marks: Marks, step: int) -> Charged:
    marks.now(BATCH)
    marks.charged.clear()
    trainer.take_step(step)
    marks.now(REST)
    return dict(marks.charged)


@contextmanager
def _marked(trainer: Trainer) -> Iterator[Marks]:
    """Marks at all borders, for the time of the block."""
    marks, model = Marks(trainer.machine.device), trainer.model
    hooks: list[Any] = [
        model.register_forward_pre_hook(marks.at(EMBEDDING)),
        model.register_forward_hook(lambda *_: marks.now(HEAD, BACKWARD)),
    ]
    for name, module in model.named_modules():
        hooks += _border(name, module, marks)
    optimizers: Any = trainer.optimizers  # its `step` gets a mark before and behind it, on this one object
    move = optimizers.step

    def step(*arguments: Any) -> None:
        marks.now(OPTIMIZER)
        move(*arguments)
        marks.now(REST)

    optimizers.step = step
    try:
        yield marks
    finally:
        del optimizers.step
        for hook in hooks:
            hook.remove()


def _border(name: str, module: nn.Module, marks: Marks) -> Iterator[Any]:
    """Of a part of a block, of the last norm (behind it comes the head), and of the embedding (before it, nothing)."""
    if name == "token_embedding":
        yield module.register_forward_hook(lambda *call: _await_the_last(call[-1], marks))
        return
    kind = next((part for end, part in KIND.items() if name.endswith(end)), None)
    if kind is None or name.count(".") > 2:  # the norms within attention belong to it
        return
    after = HEAD if name == "final_norm" else REST
    yield module.register_forward_pre_hook(marks.at(kind))
    yield module.register_forward_hook(lambda *_: marks.now(after))
    yield module.register_full_backward_pre_hook(marks.at(kind, BACKWARD))
    yield module.register_full_backward_hook(marks.at(REST, BACKWARD))


def _await_the_last(x_BTD: Tensor, marks: Marks) -> None:
    """The gradient that comes to the embedding is the last; behind it the way back ends."""

    def arrived(_: Tensor) -> None:
        marks.now(EMBEDDING, BACKWARD)
        engine: Any = torch.autograd.Variable._execution_engine  # tells torch's own DDP that gradients are complete
        engine.queue_callback(marks.at(CLIPPING))

    x_BTD.register_hook(arrived)  # type: ignore[no-untyped-call]


def _evaluation_s(subject: Subject, seconds: float) -> float:
    training = subject.training
    model = subject.model
    tokens = training.seq_len * training.batch_size + 1
    ids = np.random.default_rng(0).integers(0, model.vocab_size, size=tokens).astype(id_dtype(model.vocab_size))

    def once() -> None:
        evaluate(model, ids, seq_len=training.seq_len, batch_size=training.batch_size, machine=subject.machine)

    return time_calls(once, seconds=seconds / 3, device=subject.device).median_s


def _saving(subject: Subject, trainer: Trainer) -> tuple[float, int]:
    """Seconds and bytes of a `last.safetensors`, in the system's folder for temporary files."""
    model = trainer.model
    checkpoint = Checkpoint(model_config=model.config, tokenizer_json="{}", step=1, settings={},
                            weights=weights_of(model), optimizer=trainer.memory())  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.safetensors"
        taken = [time_once(lambda: save_checkpoint(path, checkpoint), subject.device) for _ in range(3)]
        return statistics.median(taken), path.stat().st_size


def memory_rate(device: torch.device, *, seconds: float) -> float:
    """Bytes a second that a large copy reads and writes."""
    source = torch.ones(COPIED_BYTES // FP32, device=device)
    target = torch.empty_like(source)
    timing = time_calls(lambda: target.copy_(source), seconds=seconds, device=device)
    return 2 * COPIED_BYTES / timing.fastest_s


def save_every_for(share: float, saving_s: float, step_s: float) -> int:
    """How many steps must lie between two checkpoints, so that saving takes no more than this share of the run."""
    return math.ceil(saving_s * (1 - share) / share / step_s)
