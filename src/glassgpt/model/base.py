"""What every model here is: ids in, and for each position the odds of what comes next.

The bigram model, the rungs of the ladder and the GPT differ in `read`, what they make of a text, and
in `predict`, how odds come of it. What they share stands here, so that whatever trains, measures, saves
or samples one of them does so with all. `generate` is the slow truth; `sampling/` gives the same text, fast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from glassgpt.config import ModelConfig
from glassgpt.errors import ConfigError
from glassgpt.model.cache import Cache
from glassgpt.model.layers import choose, cross_entropy


class Predictor(nn.Module, ABC):
    """A model of the next token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.vocab_size is None:
            raise ConfigError("vocab_size is not set; a model needs it: take it from the tokenizer")
        self.config = config
        self.vocab_size: int = config.vocab_size
        self.context = config.max_seq_len  # how far it looks back when it writes; less, where fewer were trained
        self.checkpointing = False  # True: the backward pass computes each block again instead of storing its inside

    @abstractmethod
    def read(self, ids_BT: Tensor, *, cache: Cache | None = None) -> Tensor:
        """What the model made of each token and those before it. With a cache the ids continue what it remembers."""

    @abstractmethod
    def predict(self, x_BTD: Tensor) -> Tensor:
        """Logits, from what `read` made."""

    def forward(
        self, ids_BT: Tensor, targets: Tensor | None = None, *, cache: Cache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits for every position, and the mean loss where the targets (BT too) say what came next."""
        logits_BTV = self.predict(self.read(ids_BT, cache=cache))
        return logits_BTV, None if targets is None else cross_entropy(logits_BTV, targets)

    def make_cache(self, batch_size: int) -> Cache:
        """An empty memory for so many texts, where the weights are."""
        weight = next(self.parameters())
        return Cache(self.config, batch_size, device=weight.device, dtype=weight.dtype)

    @torch.no_grad()
    def generate(
        self,
        ids_BT: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """The ids and what may follow them: every token rereads the whole text. Call `eval()` first.

        A text that outgrows the context goes on from the last half of it.
        """
        window_BT = ids_BT
        for _ in range(max_new_tokens):
            if window_BT.shape[1] > self.context:
                window_BT = window_BT[:, -max(1, self.context // 2) :]
            logits_BTV, _ = self(window_BT)
            next_B1 = choose(logits_BTV[:, -1], temperature=temperature, top_k=top_k, rng=rng)
            window_BT = torch.cat((window_BT, next_B1), dim=1)
            ids_BT = torch.cat((ids_BT, next_B1), dim=1)
        return ids_BT
