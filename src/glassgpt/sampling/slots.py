"""Texts that come and go, in the rows of one cache: who reads, who goes on, who has left.

Each row holds one text. A text of which one token is unread takes a step together with all others like it; one of
which more is unread (a prompt, or what is reread at the end of the context) is read on its own, some tokens at a time,
so that the others need not wait. `reader.py` is the truth for texts that begin and end together; `engine.py` draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glassgpt.config import Weights
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT
from glassgpt.sampling.reader import Writer, how_much_is_read, inference

READ_AT_ONCE = 128  # tokens of prompts between two steps: mini_gpt reads them in the time of about three steps


class Row:
    """One text in its slot."""

    def __init__(self, window: list[int], *, score: bool) -> None:
        self.window, self.unread = window, len(window)  # what the model looks at; how much of it is not in the cache
        self.logits_V: Tensor | None = None  # what is expected next, in fp32 and on the CPU, when all is read
        self.score = score  # whether the prompt's own log-probabilities are wanted
        self.scores_NV: list[Tensor] = []  # one part for each piece that was read
        self.last_served = 0

    @property
    def held(self) -> int:
        return len(self.window) - self.unread


class Slots:
    """At most `size` texts; those that take the next step together lie in the first rows."""

    def __init__(self, writer: Writer, *, size: int, context: int, weights: Weights = "fp32") -> None:
        self.writer, self.size, self.context, self.weights = writer, size, context, weights
        self.model = writer.light(weights)
        self.device = next(self.model.parameters()).device
        self.rows: list[Row] = []
        self.steps = 0  # since the beginning; a test counts them
        with torch.inference_mode():
            self.cache = self.model.make_cache(size)
        self._parts: dict[tuple[int, int], Cache] = {}

    def warm(self) -> None:
        """Make the steps ready now, so that the first client need not wait for it."""
        if isinstance(self.model, GPT):
            with inference(self.model):
                for rows in {1, self.size}:
                    self.writer.decoder(self.model, self.weights, rows=rows)

    @property
    def free(self) -> int:
        return self.size - len(self.rows)

    def join(self, text: Sequence[int], *, score: bool = False) -> Row:
        assert self.free
        row = Row(self._fit(list(text)), score=score)
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        """The last row takes its place, so that no hole is left."""
        self._swap(self.rows.index(row), len(self.rows) - 1)
        self.rows.pop()

    def append(self, row: Row, token_id: int) -> None:
        row.window.append(token_id)
        row.unread, row.logits_V = 1, None
        if len(row.window) > self.context:  # positions restart at zero, so all that is kept is read again
            row.window = self._fit(row.window)
            row.unread = len(row.window)

    def advance(self) -> None:
        """One step for all that can take it, and a piece of what must be read before."""
        self.steps += 1
        with inference(self.model):
            # A step computes no scores, so the last token of a prompt that wants them is read.
            stepping = self._gather([row for row in self.rows if row.unread == 1 and row.held and not row.score])
            if stepping:
                self._step(stepping)
            budget = READ_AT_ONCE
            for row in sorted((row for row in self.rows if row.unread), key=lambda row: row.last_served):
                if budget > 0:
                    budget -= self._read(row, budget)

    def _fit(self, window: list[int]) -> list[int]:
        return window[-how_much_is_read(len(window), context=self.context) :]

    def _gather(self, chosen: list[Row]) -> list[Row]:
        """Bring these into the first rows; those that lie there already stay."""
        wanted = set(map(id, chosen))
        strangers = [place for place in range(len(chosen)) if id(self.rows[place]) not in wanted]
        outside = [place for place in range(len(chosen), len(self.rows)) if id(self.rows[place]) in wanted]
        for stranger, place in zip(strangers, outside, strict=True):
            self._swap(stranger, place)
        return self.rows[: len(chosen)]

    def _swap(self, one: int, other: int) -> None:
        if one != other:
            self.rows[one], self.rows[other] = self.rows[other], self.rows[one]
            with torch.inference_mode():
                self.cache.swap_rows(one, other)

    def _part(self, first: int, last: int) -> Cache:
        if (first, last) not in self._parts:
            self._parts[first, last] = self.cache.rows(first, last)
        part = self._parts[first, last]
        part.pen.lengths = [row.held for row in self.rows[first:last]]
        return part

    def _step(self, rows: list[Row]) -> None:
        part = self._part(0, len(rows))
        ids_B = torch.tensor([row.window[-1] for row in rows], device=self.device)
        if isinstance(self.model, GPT):
            decoder = self.writer.decoder(self.model, self.weights, rows=len(rows))
            logits_BV = decoder.step(ids_B, part)
        else:
            x_BTD = self.model.read(ids_B.unsqueeze(1), cache=part)
            logits_BV = self.model.predict(x_BTD[:, -1])
        for row, logits_V in zip(rows, logits_BV.float().cpu(), strict=True):
            row.unread, row.logits_V = 0, logits_V

    def _read(self, row: Row, budget: int) -> int:
        """A piece of one text; how many tokens that were."""
        place, count = self.rows.index(row), min(row.unread, budget)
        part = self._part(place, place + 1)
        start = row.held
        ids_BT = torch.tensor([row.window[start : start + count]], device=self.device)
        x_BTD = self.model.read(ids_BT, cache=part)
        if row.score:
            self._note_scores(row, x_BTD)
        row.unread -= count
        row.last_served = self.steps
        if not row.unread:
            row.logits_V = self.model.predict(x_BTD[:, -1])[0].float().cpu()
        return count

    def _note_scores(self, row: Row, x_BTD: Tensor) -> None:
        row.scores_NV.append(self.model.predict(x_BTD)[0].float().cpu().log_softmax(dim=-1))
