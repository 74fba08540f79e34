"""What goes into the engine and what comes out of it, as values.

A `Request` is known by its ticket, and so is every event. Most are `Written`, around the `TokenEvent` that
`generate.py` gives too; beside it stand the likeliest tokens, for those who want to see what else could have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glassgpt.config import SamplingConfig
from glassgpt.errors import GlassgptError
from glassgpt.sampling.generate import TokenEvent

Odds = tuple[tuple[int, float], ...]  # the likeliest tokens with their log-probabilities, likeliest first


@dataclass(frozen=True, kw_only=True)
class Request:
    """Prompts, and what is to be written behind each; the ticket is whatever its owner knows it by."""

    ticket: int
    prompts: Sequence[Sequence[int]]
    settings: SamplingConfig
    alternatives: int = 0  # how many of the likeliest tokens are told beside each one
    score_prompt: bool = False

    @property
    def texts(self) -> int:
        return len(self.prompts) * self.settings.num_samples


@dataclass(frozen=True, kw_only=True)
class PromptRead:
    """The prompt was read to its end: what each of its tokens was expected with, None where that is not known."""

    ticket: int
    sample: int
    log_probs: tuple[float | None, ...] = ()
    alternatives: tuple[Odds, ...] = ()
    finished: bool = False  # nothing is to be written


@dataclass(frozen=True, kw_only=True)
class Written:
    """One token more."""

    ticket: int
    event: TokenEvent
    alternatives: Odds = ()


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The request ends here, with all its samples."""

    ticket: int
    problem: GlassgptError


EngineEvent = PromptRead | Written | Failed


def likeliest(log_probs_V: Tensor, count: int) -> Odds:
    """`likeliest(log_probs_V, 2) == ((17, -0.1), (4, -2.5))`."""
    if not count:
        return ()
    best = log_probs_V.topk(min(count, len(log_probs_V)))
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def scores(
    parts_NV: Sequence[Tensor], prompt: Sequence[int], count: int
) -> tuple[tuple[float | None, ...], tuple[Odds, ...]]:
    """For each token of the prompt; the first of the window has nothing before it, and what is cut off was not read."""
    log_probs_NV = torch.cat(list(parts_NV))
    unknown = len(prompt) - len(log_probs_NV) + 1
    own = [float(log_probs_V[token]) for log_probs_V, token in zip(log_probs_NV, prompt[unknown:], strict=False)]
    odds = [likeliest(log_probs_V, count) for log_probs_V in log_probs_NV[: len(own)]]
    return (*[None] * unknown, *own), (*[()] * unknown, *odds)
