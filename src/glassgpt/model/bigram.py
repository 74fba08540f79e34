"""The bigram model, from which the GPT grows: what comes next depends on the last token alone.

One table with a row of logits per token, and nothing else. It cannot do better than
counting pairs; all that a GPT knows beyond this, it knows by looking further back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glassgpt.config import ModelConfig
from glassgpt.model.base import Predictor
from glassgpt.model.cache import Cache
from glassgpt.model.layers import embedding


class Bigram(Predictor):
    """Of its configuration only `vocab_size` has a say in what it computes."""

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__(config)
        self.table = embedding(self.vocab_size, self.vocab_size)
        nn.init.normal_(self.table.weight, std=0.02, generator=torch.Generator().manual_seed(seed))

    def read(self, ids_BT: Tensor, *, cache: Cache | None = None) -> Tensor:
        if cache is not None:
            cache.advance(ids_BT.shape[1])  # it counts along, and has nothing to remember
        logits_BTV: Tensor = self.table(ids_BT)
        return logits_BTV

    def predict(self, x_BTD: Tensor) -> Tensor:
        return x_BTD  # the rows of the table are logits already
