"""Attention, and perhaps an MLP, in a plain chain: halfway from the bigram model to the GPT.

Each part sees only what the one before it made: no stream goes around them, and nothing is normalised.
The parts are the GPT's own. One is enough to see what looking back is worth; how much a residual
stream and norms add, the ladder (`lab/ladder.py`) measures against this.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glassgpt.config import ModelConfig
from glassgpt.model.attention import Attention
from glassgpt.model.base import Predictor
from glassgpt.model.cache import Cache
from glassgpt.model.layers import Linear, embedding, mlp


class Chain(Predictor):
    """embedding -> attention -> (MLP ->) head."""

    def __init__(self, config: ModelConfig, *, with_mlp: bool, seed: int = 0) -> None:
        super().__init__(config)
        self.token_embedding = embedding(self.vocab_size, config.d_model)
        self.position_embedding = embedding(config.max_seq_len, config.d_model)
        self.attention = Attention(config)
        self.mlp = mlp(config) if with_mlp else None
        self.head = Linear(config.d_model, self.vocab_size, bias=False)
        self.fill(torch.Generator().manual_seed(seed))

    def read(self, ids_BT: Tensor, *, cache: Cache | None = None) -> Tensor:
        assert cache is None, "a chain rereads its text for every token"
        positions_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        x_BTD = self.token_embedding(ids_BT) + self.position_embedding(positions_T)
        y_BTD: Tensor = self.attention(x_BTD)
        return y_BTD if self.mlp is None else self.mlp(y_BTD)

    def predict(self, x_BTD: Tensor) -> Tensor:
        logits_BTV: Tensor = self.head(x_BTD)
        return logits_BTV

    @torch.no_grad()
    def fill(self, rng: torch.Generator) -> None:
        """Without norms the first weights alone must keep signals at their size: 1 / sqrt(inputs) for a sum."""
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif "embedding" in name:
                weight.normal_(generator=rng)
            else:
                share = 0.25 if name.startswith("head") else 1.0  # first odds nearly even, as the GPT's
                weight.normal_(std=share / math.sqrt(weight.shape[1]), generator=rng)
