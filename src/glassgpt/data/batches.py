"""Ids become batches: which windows a step sees is a function of (seed, step), not of what happened before.

An epoch cuts the ids into windows side by side and visits each once, in shuffled order; the next epoch cuts at other
places. The windows of all epochs form one endless line, and step s takes its batch from there: so any step can be
asked for at any time, by any process. Where the ids come from is told in `prepare`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from glassgpt.errors import ConfigError, DataError
from glassgpt.text.base import Ids

Batch = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # inputs and targets, each [windows, seq_len]

NO_TARGET = -100  # what torch's cross_entropy leaves out
ORDER, OFFSET = 0, 1  # what a random number is for
MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15  # splitmix64, Steele, Lea & Flood 2014


class Batches:
    """The endless line of training windows over some ids."""

    def __init__(self, ids: Ids, *, seq_len: int, batch_size: int, seed: int) -> None:
        if len(ids) <= seq_len:
            raise DataError(
                f"the text has {len(ids)} tokens, and one window needs {seq_len + 1} (seq_len={seq_len} and the "
                f"token after it); choose a smaller --seq-len or bring more text"
            )
        self._ids, self.seq_len, self.batch_size, self.seed = ids, seq_len, batch_size, seed
        # One window less than would fit lets the borders move by up to a whole window from epoch to epoch.
        self.windows_per_epoch = max(1, (len(ids) - seq_len) // seq_len)
        self._room = min(seq_len - 1, len(ids) - 1 - self.windows_per_epoch * seq_len)
        self._windows = np.lib.stride_tricks.sliding_window_view(ids, seq_len + 1)
        self._others: dict[int, Batches] = {}
        # A batch may straddle two epochs; and `lru_cache` around a method would keep every instance alive.
        self._starts = lru_cache(maxsize=2)(self._shuffled_starts)

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1, micro: int = 0, grad_accum: int = 1) -> Batch:
        """Inputs and targets of one micro-batch of one process at one step.

        The batch of a step is cut into world_size * grad_accum equal pieces; `piece_of` says who takes which.
        """
        size = piece_size(self.batch_size, world_size, grad_accum)
        first = step * self.batch_size + piece_of(rank, world_size, micro) * size
        tokens = self._windows[self._starts_from(first, size)].astype(np.int64)
        return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])

    def in_windows_of(self, seq_len: int) -> Batches:
        """The same text in a line of shorter windows, with as many tokens in a batch; the full windows are this one.

        Windows of their own from all over the text: longer ones cut up would be neighbours, and teach less.
        """
        if seq_len != self.seq_len and seq_len not in self._others:
            count = self.batch_size * (self.seq_len // seq_len)
            self._others[seq_len] = Batches(self._ids, seq_len=seq_len, batch_size=count, seed=self.seed)
        return self._others.get(seq_len, self)

    def epoch_of(self, step: int) -> int:
        """The epoch of a step's first window, counted from 0."""
        return step * self.batch_size // self.windows_per_epoch

    def _starts_from(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Where in the ids the windows number first, first + 1, ... of the endless line begin."""
        starts = []
        while count:
            epoch, place = divmod(first, self.windows_per_epoch)
            some = self._starts(epoch)[place : place + count]
            starts.append(some)
            first, count = first + len(some), count - len(some)
        return np.concatenate(starts)

    def _shuffled_starts(self, epoch: int) -> npt.NDArray[np.int64]:
        offset = int(hashes(1, self.seed, epoch, OFFSET)[0]) % (self._room + 1)
        order = np.argsort(hashes(self.windows_per_epoch, self.seed, epoch, ORDER), kind="stable")
        return offset + order.astype(np.int64) * self.seq_len


def piece_size(batch_size: int, world_size: int, grad_accum: int) -> int:
    """How many windows a micro-batch has: all of them have equally many, or their mean would not be the batch's."""
    pieces = world_size * grad_accum
    if batch_size % pieces:
        raise ConfigError(
            f"batch_size={batch_size} does not split evenly over {world_size} processes x grad_accum={grad_accum}; "
            f"make it a multiple of {pieces}"
        )
    return batch_size // pieces


def piece_of(rank: int, world_size: int, micro: int) -> int:
    """The global index of a micro-batch: the processes stand side by side, micro-batch after micro-batch."""
    return micro * world_size + rank


def evaluation_windows(ids: Ids, seq_len: int, batch_size: int) -> Iterator[Batch]:
    """Every token but the first as a target exactly once, in order, in batches of one fixed shape.

    What is missing at the end is filled up with `NO_TARGET`: sum the losses, divide by the number of targets.
    """
    if len(ids) < 2:
        raise DataError(f"the text has {len(ids)} tokens, and an evaluation needs at least 2; bring more text")
    step = seq_len * batch_size
    for start in range(0, len(ids) - 1, step):
        tokens = np.asarray(ids[start : start + step + 1], dtype=np.int64)
        inputs, targets = np.zeros(step, dtype=np.int64), np.full(step, NO_TARGET, dtype=np.int64)
        inputs[: len(tokens) - 1], targets[: len(tokens) - 1] = tokens[:-1], tokens[1:]
        yield inputs.reshape(batch_size, seq_len), targets.reshape(batch_size, seq_len)


def hashes(count: int, *key: int) -> npt.NDArray[np.uint64]:
    """`count` different numbers that look random and depend on the key alone.

    Our own, because numpy promises the stream of its generators for no longer than a version.
    """
    state = 0
    for number in key:
        state = _mix(state ^ (number & MASK)) + GOLDEN & MASK
    line: npt.NDArray[np.uint64] = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(state)
    line = (line ^ (line >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    line = (line ^ (line >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    line ^= line >> np.uint64(31)
    return line


def _mix(state: int) -> int:
    """The same for a single number, in plain Python."""
    state = (state + GOLDEN) & MASK
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & MASK
    return state ^ (state >> 31)
