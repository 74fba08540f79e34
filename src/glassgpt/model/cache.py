"""What the model remembers of a text, so that each new token costs one step and not a rereading.

A cache is a set of tapes with one entry per position: keys, values, and whatever
goes through a token shift. Each row of a batch has its own length, so prompts of
different lengths go in together, padded on the right; `truncate` then moves the pen
back over the padding, and the next tokens overwrite it. For inference: no gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glassgpt.config import ModelConfig


class Pen:
    """Where each row of a batch writes next; all tapes of a cache share it."""

    def __init__(self, batch_size: int, capacity: int, *, device: torch.device) -> None:
        self.lengths = [0] * batch_size
        self.capacity = capacity
        self.device = device

    def advance(self, steps: int) -> None:
        """Move on by some steps; until the next call, the tapes write at the positions passed."""
        self.end = max(self.lengths) + steps  # on the Python side: asking the device would stall it
        assert self.end <= self.capacity, f"{self.end} positions in a cache of {self.capacity}"
        first_B1 = torch.tensor(self.lengths, device=self.device).unsqueeze(1)
        self.positions_BT = first_B1 + torch.arange(steps, device=self.device)
        self.rows_B1 = torch.arange(len(self.lengths), device=self.device).unsqueeze(1)
        self.lengths = [length + steps for length in self.lengths]


class KeyValueTape:
    """The keys and values of one attention layer."""

    def __init__(self, pen: Pen, config: ModelConfig, *, dtype: torch.dtype) -> None:
        self.pen = pen
        shape = (len(pen.lengths), config.kv_heads, pen.capacity, config.head_width)
        self.k_BHSK = torch.zeros(shape, dtype=dtype, device=pen.device)
        self.v_BHSK = torch.zeros(shape, dtype=dtype, device=pen.device)

    def extend(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Write, then show all that is written (`attention.Memory`)."""
        rows_B1, positions_BT, end = self.pen.rows_B1, self.pen.positions_BT, self.pen.end
        self.k_BHSK.transpose(1, 2)[rows_B1, positions_BT] = k_BHTK.transpose(1, 2).to(self.k_BHSK.dtype)
        self.v_BHSK.transpose(1, 2)[rows_B1, positions_BT] = v_BHTK.transpose(1, 2).to(self.v_BHSK.dtype)
        return self.k_BHSK[:, :, :end], self.v_BHSK[:, :, :end]


class ShiftTape:
    """What went through one token shift; `steps` blank entries stand before the first position."""

    def __init__(self, pen: Pen, config: ModelConfig, *, dtype: torch.dtype) -> None:
        self.pen, self.steps = pen, config.token_shift
        shape = (len(pen.lengths), self.steps + pen.capacity, config.d_model)
        self.x_BSD = torch.zeros(shape, dtype=dtype, device=pen.device)

    def recall(self, x_BTD: Tensor, *, steps: int) -> Tensor:
        """Write, then show the entries just before (`layers.Past`)."""
        assert steps == self.steps
        rows_B1, positions_BT = self.pen.rows_B1, self.pen.positions_BT
        self.x_BSD[rows_B1, positions_BT + steps] = x_BTD.to(self.x_BSD.dtype)
        before_BT = positions_BT[:, :1] + torch.arange(steps, device=self.pen.device)
        return self.x_BSD[rows_B1, before_BT].to(x_BTD.dtype)


class LayerCache:
    """All that one block remembers."""

    def __init__(self, pen: Pen, config: ModelConfig, *, dtype: torch.dtype) -> None:
        self.attention = KeyValueTape(pen, config, dtype=dtype)
        self.attention_shift = ShiftTape(pen, config, dtype=dtype) if config.token_shift else None
        self.mlp_shift = ShiftTape(pen, config, dtype=dtype) if config.token_shift else None


class Cache:
    """All that a model remembers of a batch of texts."""

    def __init__(
        self, config: ModelConfig, batch_size: int, *, device: torch.device | str = "cpu", dtype: torch.dtype
    ) -> None:
        self.config, self.dtype = config, dtype
        self.pen = Pen(batch_size, config.max_seq_len, device=torch.device(device))
        remembers = config.architecture != "bigram"  # that one only looks at the last token
        shifts = remembers and config.token_shift
        self.embedding_shift = ShiftTape(self.pen, config, dtype=dtype) if shifts else None
        self.layers = [LayerCache(self.pen, config, dtype=dtype) for _ in range(config.n_layers if remembers else 0)]

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many tokens of each row are remembered."""
        return tuple(self.pen.lengths)

    @property
    def longest(self) -> int:
        return max(self.pen.lengths)

    def advance(self, steps: int) -> tuple[Tensor, Tensor]:
        """Make place for new tokens: positions_BT, and visible_B1TS, what each of them may look at."""
        self.pen.advance(steps)
        positions_BT = self.pen.positions_BT
        keys_S = torch.arange(self.pen.end, device=self.pen.device)
        return positions_BT, keys_S <= positions_BT[:, None, :, None]

    def truncate(self, lengths: Sequence[int]) -> None:
        """Forget what is beyond these lengths, one for each row."""
        assert all(0 <= new <= old for new, old in zip(lengths, self.pen.lengths, strict=True))
        self.pen.lengths = list(lengths)

    def reset(self) -> None:
        """Forget everything, and keep the memory for the next text."""
        self.truncate([0] * len(self.pen.lengths))

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        self.pen.lengths = [self.pen.lengths[row] for row in rows]
        chosen = torch.tensor(list(rows), device=self.pen.device)
        for owner, name in self._tapes():
            setattr(owner, name, getattr(owner, name)[chosen])

    def replace_rows(self, rows: Sequence[int], other: Cache) -> None:
        """Let these rows remember what the rows of another cache remember."""
        chosen = torch.tensor(list(rows), device=self.pen.device)
        for (owner, name), (giver, _) in zip(self._tapes(), other._tapes(), strict=True):
            getattr(owner, name)[chosen] = getattr(giver, name)
        for row, length in zip(rows, other.lengths, strict=True):
            self.pen.lengths[row] = length

    def _tapes(self) -> list[tuple[object, str]]:
        """Every tensor of the cache, as who holds it and under which name."""
        found: list[tuple[object, str]] = []
        for layer in self.layers:
            found += [(layer.attention, "k_BHSK"), (layer.attention, "v_BHSK")]
            found += [(tape, "x_BSD") for tape in (layer.attention_shift, layer.mlp_shift) if tape]
        return found + ([(self.embedding_shift, "x_BSD")] if self.embedding_shift else [])
