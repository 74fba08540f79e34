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
        self.follows = False  # whether the step is one to record: then only torch may compute
        self.capacity = capacity
        self.device = device

    def advance(self, steps: int) -> None:
        """Move on by some steps; until the next call, the tapes write at the positions passed.

        Rows that are equally long, the usual case, write side by side (`even`): a copy, where others scatter.
        """
        self.follows = False
        self.begin = max(self.lengths)  # on the Python side: asking the device would stall it
        self.end = self.begin + steps
        self.even = min(self.lengths) == self.begin
        if self.even:
            self.positions_BT = torch.arange(self.begin, self.end, device=self.device).unsqueeze(0)
        else:
            first_B1 = torch.tensor(self.lengths, device=self.device).unsqueeze(1)
            self.positions_BT = first_B1 + torch.arange(steps, device=self.device)
            self.rows_B1 = torch.arange(len(self.lengths), device=self.device).unsqueeze(1)
        self.count(steps)

    def follow(self, positions_B1: Tensor) -> None:
        """Write one step at whatever positions the tensor holds: no shape and no number here changes with the step.

        Then the whole capacity is shown, and `Cache.visible` alone says what of it is there. `count` does the rest.
        """
        self.follows = True
        self.even, self.end, self.positions_BT = False, self.capacity, positions_B1
        self.rows_B1 = torch.arange(len(positions_B1), device=self.device).unsqueeze(1)

    def count(self, steps: int) -> None:
        assert max(self.lengths) + steps <= self.capacity, f"{steps} more than {self.lengths} of {self.capacity}"
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
        pen = self.pen
        for tape_BHSK, new_BHTK in ((self.k_BHSK, k_BHTK), (self.v_BHSK, v_BHTK)):
            if pen.even:
                tape_BHSK[:, :, pen.begin : pen.end] = new_BHTK
            else:
                new_BTHK = new_BHTK.transpose(1, 2).to(tape_BHSK.dtype)
                tape_BHSK.transpose(1, 2)[pen.rows_B1, pen.positions_BT] = new_BTHK
        return self.k_BHSK[:, :, : pen.end], self.v_BHSK[:, :, : pen.end]


class ShiftTape:
    """What went through one token shift; `steps` blank entries stand before the first position."""

    def __init__(self, pen: Pen, config: ModelConfig, *, dtype: torch.dtype) -> None:
        self.pen, self.steps = pen, config.token_shift
        shape = (len(pen.lengths), self.steps + pen.capacity, config.d_model)
        self.x_BSD = torch.zeros(shape, dtype=dtype, device=pen.device)

    def recall(self, x_BTD: Tensor, *, steps: int) -> Tensor:
        """Write, then show the entries just before (`layers.Past`)."""
        assert steps == self.steps
        pen = self.pen
        if pen.even:
            self.x_BSD[:, pen.begin + steps : pen.end + steps] = x_BTD
            return self.x_BSD[:, pen.begin : pen.begin + steps].to(x_BTD.dtype)
        self.x_BSD[pen.rows_B1, pen.positions_BT + steps] = x_BTD.to(self.x_BSD.dtype)
        before_BT = pen.positions_BT[:, :1] + torch.arange(steps, device=pen.device)
        return self.x_BSD[pen.rows_B1, before_BT].to(x_BTD.dtype)


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

    def advance(self, steps: int) -> tuple[Tensor, Tensor | None]:
        """Make place for new tokens: positions_BT, and visible_B1TS, what each of them may look at.

        Where all rows are equally long, the first axis of both is one; a text that begins needs no `visible_B1TS`.
        """
        self.pen.advance(steps)
        return self.pen.positions_BT, None if self.pen.end == steps else self.visible()

    def visible(self) -> Tensor:
        keys_S = torch.arange(self.pen.end, device=self.pen.device)
        return keys_S <= self.pen.positions_BT[:, None, :, None]

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
        for tape, giver in zip(self.tapes(), other.tapes(), strict=True):
            tape[chosen] = giver
        for row, length in zip(rows, other.lengths, strict=True):
            self.pen.lengths[row] = length

    def rows(self, first: int, last: int) -> Cache:
        """Neighbouring rows as a cache of their own, on the same memory; only the lengths are told apart."""
        part = Cache(self.config, 0, device=self.pen.device, dtype=self.dtype)
        part.pen.lengths = self.pen.lengths[first:last]
        for (owner, name), tape in zip(part._tapes(), self.tapes(), strict=True):
            setattr(owner, name, tape[first:last])
        return part

    def swap_rows(self, one: int, other: int) -> None:
        """Two texts change places, in the memory that is there: views of it (`rows`) see it too."""
        lengths = self.pen.lengths
        lengths[one], lengths[other] = lengths[other], lengths[one]
        for tape in self.tapes():
            kept = tape[one].clone()
            tape[one] = tape[other]
            tape[other] = kept

    def tapes(self) -> list[Tensor]:
        """Every tensor of the cache; only `keep_rows` puts others in their place."""
        return [getattr(owner, name) for owner, name in self._tapes()]

    def _tapes(self) -> list[tuple[object, str]]:
        """The same, as who holds it and under which name."""
        found: list[tuple[object, str]] = []
        for layer in self.layers:
            found += [(layer.attention, "k_BHSK"), (layer.attention, "v_BHSK")]
            found += [(tape, "x_BSD") for tape in (layer.attention_shift, layer.mlp_shift) if tape]
        return found + ([(self.embedding_shift, "x_BSD")] if self.embedding_shift else [])
