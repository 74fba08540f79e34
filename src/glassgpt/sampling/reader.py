"""Reading several growing texts at once, each token once.

The prompts go through the model whole; from then on every new token is one step that
leans on the cache. A text that outgrows the context goes on from the last half of it,
read again: half a context of tokens then pays for one such reading, so the price per token stays
flat, and the next token is always drawn from at least half a context. Used by `generate.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from glassgpt.model.base import Predictor


class Reader:
    """Several texts, and what the model expects next in each.

    `logits_BV` has a row for each text, in fp32 and on the CPU: that is where tokens
    are drawn, so that a seed means the same on every device.
    """

    def __init__(self, model: Predictor, texts: Sequence[Sequence[int]], *, context: int) -> None:
        self.model, self.context = model, context
        self.device = next(model.parameters()).device
        self.windows = [self._fit(list(text)) for text in texts]  # what the model looks at
        with inference(model):
            self.cache = model.make_cache(len(texts))
            self.logits_BV = self._reread(range(len(texts)))

    def go_on(self, rows: Sequence[int], token_ids: Sequence[int]) -> None:
        """Keep only these texts, and append one token to each."""
        with inference(self.model):
            if len(rows) < len(self.windows):
                self.windows = [self.windows[row] for row in rows]
                self.cache.keep_rows(rows)
            grown = [self._fit([*window, new]) for window, new in zip(self.windows, token_ids, strict=True)]
            cut = [row for row, window in enumerate(grown) if len(window) <= len(self.windows[row])]
            self.windows = grown
            self.cache.truncate([0 if row in cut else length for row, length in enumerate(self.cache.lengths)])
            self.logits_BV = self._step(token_ids)
            if cut:
                self.logits_BV[cut] = self._reread(cut)

    def _fit(self, window: list[int]) -> list[int]:
        return window if len(window) <= self.context else window[-max(1, self.context // 2) :]

    def _step(self, token_ids: Sequence[int]) -> Tensor:
        """One token further in every text; where the text was cut, the answer is void until it is read again."""
        x_BTD = self.model.read(self._tensor([[token_id] for token_id in token_ids]), cache=self.cache)
        return self.model.predict(x_BTD[:, -1]).float().cpu()

    def _reread(self, rows: Sequence[int]) -> Tensor:
        """Read the windows of these texts from their beginning, shorter ones padded on the right."""
        windows = [self.windows[row] for row in rows]
        lengths = [len(window) for window in windows]
        fresh = self.model.make_cache(len(rows))
        ids_BT = self._tensor([window + [0] * (max(lengths) - len(window)) for window in windows])
        x_BTD = self.model.read(ids_BT, cache=fresh)
        fresh.truncate(lengths)  # the padding is forgotten
        self.cache.replace_rows(rows, fresh)
        last_BD = x_BTD[torch.arange(len(rows)), torch.tensor(lengths) - 1]
        return self.model.predict(last_BD).float().cpu()

    def _tensor(self, ids: list[list[int]]) -> Tensor:
        return torch.tensor(ids, device=self.device)


@contextmanager
def inference(model: Predictor) -> Iterator[None]:
    """No gradients and no dropout; afterwards the model is as it was, so a training run can sample in between."""
    was_training = model.training
    if was_training:  # eval() walks through all parts of the model, which would be felt at every token
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
