"""From what the model believes to what is drawn from: small functions on logits_BV.

Each takes logits and gives logits; what is ruled out becomes minus infinity. `odds`
applies them in the usual order, `draw` throws the dice. None of them knows a model: `generate.py` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from glassgpt.config import SamplingConfig


def odds(logits_BV: Tensor, seen_BV: Tensor | None, settings: SamplingConfig) -> Tensor:
    """The probabilities that a token is drawn with; `seen_BV` says which tokens each text holds already.

    It may be left out where repetition has no penalty.
    """
    if seen_BV is not None:
        logits_BV = penalize_repetition(logits_BV, seen_BV, settings.repetition_penalty)
    logits_BV = apply_temperature(logits_BV, settings.temperature)
    logits_BV = keep_top_k(logits_BV, settings.top_k)
    logits_BV = keep_top_p(logits_BV, settings.top_p)
    return keep_min_p(logits_BV, settings.min_p).softmax(dim=-1)


def draw(probs_BV: Tensor, dice: Sequence[torch.Generator]) -> Tensor:
    """One token for each row, each thrown with dice of its own: what `torch.multinomial` draws, all rows at once."""
    noise_BV = torch.empty_like(probs_BV)
    for noise_V, rng in zip(noise_BV, dice, strict=True):
        noise_V.exponential_(generator=rng)
    return (probs_BV / noise_BV).argmax(dim=-1)


def penalize_repetition(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Seen tokens become less likely: positive logits divided, negative ones multiplied (Keskar et al. 2019)."""
    if penalty == 1:
        return logits_BV
    return torch.where(seen_BV, torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty), logits_BV)


def apply_temperature(logits_BV: Tensor, temperature: float) -> Tensor:
    """Below 1 the likely becomes likelier; at 0 only the likeliest is left, the first of equals."""
    if temperature == 0:
        best_B1 = logits_BV.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits_BV, -math.inf).scatter(-1, best_B1, 0.0)
    # The best moves to 0 and stays there, however small the temperature; 1e-300 is no number in fp32, 1e-30 is.
    return (logits_BV - logits_BV.amax(dim=-1, keepdim=True)) / max(temperature, 1e-30)


def keep_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """The k likeliest, and whatever ties with the last of them; 0 keeps all."""
    if k == 0 or k >= logits_BV.shape[-1]:
        return logits_BV
    kth_B1 = logits_BV.topk(k, dim=-1).values[:, -1:]
    return logits_BV.masked_fill(logits_BV < kth_B1, -math.inf)


def keep_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """The fewest tokens that together reach p, likeliest first; among equals, those of smaller id."""
    if p >= 1:
        return logits_BV
    probs_BV, order_BV = logits_BV.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    reached_before_BV = probs_BV.cumsum(dim=-1) - probs_BV
    enough_BV = (reached_before_BV >= p).scatter(-1, order_BV, reached_before_BV >= p)
    return logits_BV.masked_fill(enough_BV, -math.inf)


def keep_min_p(logits_BV: Tensor, min_p: float) -> Tensor:
    """Tokens at least `min_p` times as likely as the likeliest; a sure model leaves fewer, an unsure one more."""
    if min_p == 0:
        return logits_BV
    least_B1 = logits_BV.amax(dim=-1, keepdim=True) + math.log(min_p)
    return logits_BV.masked_fill(logits_BV < least_B1, -math.inf)
