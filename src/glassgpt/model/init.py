"""How large the first weights are, and why.

A network of random weights should pass signals on at the size they came in, and should begin by believing nothing:
its first loss is near ln(vocabulary), that of even odds. The dice are an argument; the same seed gives the same
weights anywhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from glassgpt.config import ModelConfig


@torch.no_grad()
def initialize(model: nn.Module, config: ModelConfig, *, rng: torch.Generator) -> None:
    """Give every parameter its first value, by the last parts of its name."""
    for name, weight in model.named_parameters():
        part, kind = name.split(".")[-2:]
        if kind == "bias":
            weight.zero_()  # nothing leans anywhere yet
        elif part.endswith("norm"):
            weight.fill_(1.0)  # a norm only normalises, to begin with
        elif part in {"out", "down", "head"} and starts_silent(config):
            weight.zero_()  # every block begins by passing on what it got, and the odds begin exactly even
        elif part.endswith("shift"):
            start_shift(weight, share=0.5 if part == "embedding_shift" else 0.3)
        else:
            weight.normal_(std=spread(part, config), generator=rng)


def starts_silent(config: ModelConfig) -> bool:
    """Whether all that is written begins at zero, as in the fastest recipe: untied, and with rotary positions.

    GPT-2's form with AdamW learned more slowly so (the ladder's last rung lost 0.08 nats), and keeps GPT-2's start.
    """
    return not config.tie_weights and config.position == "rope"


def spread(part: str, config: ModelConfig) -> float:
    """The standard deviation of a matrix's first values."""
    if part.endswith("embedding") and starts_silent(config):
        return 0.5  # only an input, and normalised before it is used: large enough that steps do not throw it about
    if part.endswith("embedding") or part == "head":
        # A normalised stream times this gives first logits with a spread of 1/4 at every width: odds that are nearly
        # even, 0.03 nats above ln(vocabulary). A tied embedding is the output too, so it follows the same rule.
        return 0.25 / math.sqrt(config.d_model)
    # A sum over d_model inputs grows with its root: 0.5 / sqrt(d_model) keeps it at half its size at every
    # width. At 768 this is 0.018, where GPT-2 has 0.02; at 128, where 0.02 would be faint, it is 0.044.
    std = 0.5 / math.sqrt(config.d_model)
    if part in {"out", "down"}:
        # So many of these add up in the residual stream (GPT-2, section 2.3). At zero, a tied model would begin by
        # expecting every token again: its stream would be the token's own row, which matches itself best.
        std /= math.sqrt(2 * config.n_layers)
    return std


def start_shift(weight: Tensor, *, share: float) -> None:
    """A share of the nearest neighbour, none of the others: as in the fastest recipe of our first measurements."""
    weight.zero_()
    weight[0] = share
