"""The bigram model, from which the GPT grows: what comes next depends on the last token alone.

One table with a row of logits per token. The same call and the same `generate` as
`gpt.py`, so that whatever trains one trains the other. It cannot do better than
counting pairs; all that a GPT knows beyond this, it knows by looking further back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glassgpt.model.layers import choose, cross_entropy, embedding


class Bigram(nn.Module):
    def __init__(self, vocab_size: int, *, seed: int = 0) -> None:
        super().__init__()
        self.table = embedding(vocab_size, vocab_size)
        nn.init.normal_(self.table.weight, std=0.02, generator=torch.Generator().manual_seed(seed))

    def forward(self, ids_BT: Tensor, targets_BT: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        logits_BTV = self.table(ids_BT)
        return logits_BTV, None if targets_BT is None else cross_entropy(logits_BTV, targets_BT)

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
        for _ in range(max_new_tokens):
            logits_BV = self.table(ids_BT[:, -1])
            next_B1 = choose(logits_BV, temperature=temperature, top_k=top_k, rng=rng)
            ids_BT = torch.cat((ids_BT, next_B1), dim=1)
        return ids_BT
