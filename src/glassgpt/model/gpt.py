"""The GPT, whole: ids in, and for every position the odds of what comes next.

    ids -> embedding -> [ x + attention(norm(x)); x + mlp(norm(x)) ] x n_layers -> norm -> head -> logits

Each block reads the residual stream, and adds what it found. The configuration
spans GPT-2, its rotary variant and the modern form; see `ModelConfig`. The model
only computes: where text, batches, optimizers and files come in is told elsewhere.
How it is called, and how it writes, it shares with the models of `base.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glassgpt.config import ModelConfig
from glassgpt.errors import ConfigError
from glassgpt.model.attention import Attention
from glassgpt.model.base import Predictor
from glassgpt.model.cache import Cache, LayerCache
from glassgpt.model.dropout import Dropout
from glassgpt.model.init import initialize
from glassgpt.model.layers import Linear, TokenShift, embedding, mlp, norm
from glassgpt.model.rope import Rope, Rotation


class Block(nn.Module):
    """Tokens look at each other, then each thinks for itself; both times the result is added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = norm(config)
        self.attention_shift = token_shift(config)
        self.attention = Attention(config)
        self.mlp_norm = norm(config)
        self.mlp_shift = token_shift(config)
        self.mlp = mlp(config)

    def forward(
        self, x_BTD: Tensor, rotation: Rotation | None, visible_B1TS: Tensor | None, memory: LayerCache | None
    ) -> Tensor:
        seen_BTD = self.attention_norm(x_BTD)
        if self.attention_shift is not None:
            seen_BTD = self.attention_shift(seen_BTD, memory and memory.attention_shift)
        x_BTD = x_BTD + self.attention(seen_BTD, rotation, visible_B1TS, memory and memory.attention)
        seen_BTD = self.mlp_norm(x_BTD)
        if self.mlp_shift is not None:
            seen_BTD = self.mlp_shift(seen_BTD, memory and memory.mlp_shift)
        y_BTD: Tensor = x_BTD + self.mlp(seen_BTD)
        return y_BTD


def token_shift(config: ModelConfig) -> TokenShift | None:
    return TokenShift(config.d_model, steps=config.token_shift) if config.token_shift else None


class GPT(Predictor):
    """A decoder-only transformer, its weights a function of `config` and `seed`."""

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__(config)
        learned = config.position == "learned"
        self.token_embedding = embedding(self.vocab_size, config.d_model)
        self.position_embedding = embedding(config.max_seq_len, config.d_model) if learned else None
        self.rope = None if learned else Rope(config.head_width, config.max_seq_len, base=config.rope_base)
        self.embedding_shift = token_shift(config)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = norm(config)
        self.head = None if config.tie_weights else Linear(config.d_model, self.vocab_size, bias=False)
        initialize(self, config, rng=torch.Generator().manual_seed(seed))

    def read(self, ids_BT: Tensor, *, cache: Cache | None = None) -> Tensor:
        """The residual stream behind the last block, normalised: what the model made of each token."""
        self.check_room(ids_BT.shape[1] + (cache.longest if cache else 0))
        visible_B1TS = None
        positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).unsqueeze(0)
        if cache is not None:
            positions_BT, visible_B1TS = cache.advance(ids_BT.shape[1])
        x_BTD = self.embed(ids_BT, positions_BT, cache)
        rotation = self.rope(positions_BT, dtype=compute_dtype(x_BTD)) if self.rope is not None else None
        memories = cache.layers if cache else [None] * len(self.blocks)
        for block, memory in zip(self.blocks, memories, strict=True):
            if self.checkpointing and torch.is_grad_enabled():
                x_BTD = checkpoint(block, x_BTD, rotation, visible_B1TS, memory, use_reentrant=False)
            else:
                x_BTD = block(x_BTD, rotation, visible_B1TS, memory)
        y_BTD: Tensor = self.final_norm(x_BTD)
        return y_BTD

    def embed(self, ids_BT: Tensor, positions_BT: Tensor, cache: Cache | None) -> Tensor:
        x_BTD: Tensor = self.token_embedding(ids_BT)
        if self.position_embedding is not None:
            x_BTD = x_BTD + self.position_embedding(positions_BT)
        if self.embedding_shift is not None:
            x_BTD = self.embedding_shift(x_BTD, cache and cache.embedding_shift)
        y_BTD: Tensor = self.dropout(x_BTD)
        return y_BTD

    def predict(self, x_BTD: Tensor) -> Tensor:
        """Logits: how well each token of the vocabulary matches what the stream asks for."""
        output_VD = self.token_embedding.weight if self.head is None else self.head.weight
        return F.linear(x_BTD, output_VD)

    def check_room(self, length: int) -> None:
        if length > self.config.max_seq_len:
            raise ConfigError(
                f"{length} tokens are more than max_seq_len={self.config.max_seq_len}; "
                f"give the model the last {self.config.max_seq_len}, or train one with a longer context"
            )


def compute_dtype(x_BTD: Tensor) -> torch.dtype:
    """What linear layers will answer in: autocast's choice where it is on, else the input's own."""
    device = x_BTD.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_BTD.dtype
