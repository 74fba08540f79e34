"""How good a model is on text that it did not train on: the same numbers at every call.

Ordinary text is cut into the same windows each time. Tales are scored whole, each from its first
character, because then their loss can stand beside the floor: the stories' own -log p.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from glassgpt.data import tales
from glassgpt.data.batches import evaluation_windows
from glassgpt.device import Machine, release_memory
from glassgpt.errors import is_out_of_memory
from glassgpt.model.base import Predictor
from glassgpt.text.base import Tokenizer
from glassgpt.training.parallel import ALONE, Team

IGNORED = -100  # a target that does not count


@dataclass(frozen=True)
class Evaluation:
    loss: float  # nats per token; for tales, nats per character
    tokens: int


class HeldOut(Protocol):
    """A held-out text that can mark a model; `floor` is the loss that no model can beat, where we know it."""

    @property
    def floor(self) -> float | None: ...

    def evaluate(self, model: Predictor) -> Evaluation: ...


@dataclass(frozen=True, kw_only=True)
class HeldOutText:
    ids: np.ndarray
    seq_len: int
    batch_size: int
    machine: Machine
    most_batches: int = 0  # 0 for the whole text
    floor: float | None = None
    team: Team = ALONE

    def evaluate(self, model: Predictor) -> Evaluation:
        return evaluate(model, self.ids, seq_len=self.seq_len, batch_size=self.batch_size, machine=self.machine,
                        most_batches=self.most_batches, team=self.team)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HeldOutTales:
    stories: Sequence[str]
    tokenizer: Tokenizer
    context: int
    batch_size: int
    machine: Machine
    floor: float | None
    team: Team = ALONE

    def evaluate(self, model: Predictor) -> Evaluation:
        return score_stories(model, self.tokenizer, self.stories, context=self.context, batch_size=self.batch_size,
                             machine=self.machine, team=self.team)  # fmt: skip


def evaluate(
    model: Predictor, ids: np.ndarray, *, seq_len: int, batch_size: int, machine: Machine, most_batches: int = 0,
    team: Team = ALONE,
) -> Evaluation:  # fmt: skip
    """Mean loss over non-overlapping windows, in order; over all of them, or over the first `most_batches` batches."""
    batches = evaluation_windows(ids, seq_len, batch_size)
    if most_batches:
        batches = (batch for batch, _ in zip(batches, range(most_batches), strict=False))
    return _mean_loss(model, batches, machine, team)


def score_stories(
    model: Predictor, tokenizer: Tokenizer, stories: Sequence[str], *, context: int, batch_size: int, machine: Machine,
    team: Team = ALONE,
) -> Evaluation:  # fmt: skip
    """Nats per character of whole stories and their ends, each with nothing but the end of another before it."""
    pieces = [piece for story in stories for piece in _scored_pieces(tokenizer, story, context)]
    pieces.sort(key=lambda piece: len(piece[0]))  # equal lengths side by side: little padding
    groups = (pieces[start : start + batch_size] for start in range(0, len(pieces), batch_size))
    total = _mean_loss(model, (_padded(group, context) for group in groups), machine, team)
    characters = sum(len(story) + len(tales.SEPARATOR) for story in stories)
    return Evaluation(total.loss * total.tokens / characters, characters)


def _scored_pieces(tokenizer: Tokenizer, story: str, context: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets of one story. What does not fit the context follows with half of it as memory."""
    start = tokenizer.encode_array(tales.BEFORE)
    ids = np.concatenate([start, tokenizer.encode_array(story + tales.SEPARATOR)]).astype(np.int64)
    scored = len(start)  # targets before this place were scored already, or are given
    for begin in range(0, len(ids), max(1, context // 2)):
        end = min(begin + context, len(ids) - 1)
        targets = ids[begin + 1 : end + 1].copy()
        targets[: max(0, scored - begin - 1)] = IGNORED
        yield ids[begin:end], targets
        scored = end + 1
        if end == len(ids) - 1:
            return


def _padded(group: Sequence[tuple[np.ndarray, np.ndarray]], context: int) -> tuple[np.ndarray, np.ndarray]:
    longest = max(len(inputs) for inputs, _ in group)
    length = min(context, math.ceil(longest / 64) * 64)  # few distinct shapes: kernels are chosen per shape
    x = np.zeros((len(group), length), dtype=np.int64)
    y = np.full((len(group), length), IGNORED, dtype=np.int64)
    for row, (inputs, targets) in enumerate(group):
        x[row, : len(inputs)], y[row, : len(targets)] = inputs, targets
    return x, y


Batches = Iterator[tuple[np.ndarray, np.ndarray]]


def _mean_loss(model: Predictor, batches: Batches, machine: Machine, team: Team) -> Evaluation:
    was_training = model.training
    model.eval()
    with team.same_fate(), torch.no_grad(), machine.autocast():
        loss_sum, tokens = _sums(model, team.share(batches), machine)
    loss_sum, tokens = team.total(loss_sum, tokens)
    model.train(was_training)
    return Evaluation(loss_sum / max(1, tokens), int(tokens))


def _sums(model: Predictor, batches: Batches, machine: Machine) -> tuple[float, float]:
    """The loss summed over all targets, and how many there are; in smaller batches once memory has run out."""
    loss_sum, tokens, most_rows = 0.0, 0, 1 << 30
    for x, y in batches:
        row = 0
        while row < len(x):
            some = slice(row, row + most_rows)
            loss = _loss_sum(model, x[some], y[some], machine, last_try=most_rows == 1)
            if loss is None:
                most_rows = max(1, min(most_rows, len(x) - row) // 2)
                release_memory(machine.device)
                continue
            loss_sum += loss
            row += most_rows
        tokens += int((y != IGNORED).sum())
    return loss_sum, tokens


def _loss_sum(model: Predictor, x: np.ndarray, y: np.ndarray, machine: Machine, *, last_try: bool) -> float | None:
    """None when it did not fit the memory, and fewer rows may."""
    count = int((y != IGNORED).sum())
    if not count:
        return 0.0
    try:
        ids_BT, targets_BT = (torch.from_numpy(part).to(machine.device) for part in (x, y))
        _, loss = model(ids_BT, targets_BT)
        return float(loss) * count
    except Exception as problem:
        if last_try or not is_out_of_memory(problem):
            raise
    return None
