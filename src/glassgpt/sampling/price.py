"""What lighter weights cost: how much more a text surprises the rounded model than the exact one.

The text is one that the exact model writes, so it needs no data, and the difference is an estimate of the divergence
between the two: zero if they agree. Every token goes through the real steps (`reader.py`), whose arithmetic is rounded
too. `cli/sample.py` says the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from glassgpt.config import SamplingConfig, Weights
from glassgpt.sampling.generate import generate
from glassgpt.sampling.reader import Reader, Writer

TEXTS, LONGEST = 8, 128


@dataclass(frozen=True, kw_only=True)
class Price:
    """Mean losses in nats per token, on the same text."""

    exact: float
    light: float
    tokens: int


def price(writer: Writer, weights: Weights, prompt: Sequence[int]) -> Price:
    context = writer.model.context
    prompt = prompt[-max(1, context // 2) :]
    settings = SamplingConfig(
        max_new_tokens=min(LONGEST, max(1, context // 2)), num_samples=TEXTS, temperature=1, min_p=0
    )
    events = list(generate(writer, [prompt], settings))
    reader, rows, lost = Reader(writer, [prompt] * TEXTS, context=context, weights=weights), range(TEXTS), 0.0
    for start in range(0, len(events), TEXTS):  # the events of one step stand together
        ids = [event.token_id for event in events[start : start + TEXTS]]
        log_probs_BV = reader.logits_BV.log_softmax(dim=-1)
        lost -= float(log_probs_BV.gather(-1, torch.tensor(ids).unsqueeze(1)).sum())
        if start + TEXTS < len(events):
            reader.go_on(rows, ids)
    exact = -sum(event.log_prob for event in events)
    return Price(exact=exact / len(events), light=lost / len(events), tokens=len(events))
