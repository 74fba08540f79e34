"""A run whose models have all their numbers random, so that no two tokens, heads and layers are alike; and the truth
about them, as the page rounds it."""

from __future__ import annotations

import math
from pathlib import Path
from string import printable
from typing import Any

import numpy as np
import torch

from conftest import stirred
from glassgpt.checkpoint import Checkpoint, save_checkpoint, weights_of
from glassgpt.config import ModelConfig, RunConfig
from glassgpt.library import LanguageModel
from glassgpt.model.gpt import GPT
from glassgpt.sampling.trace import Trace
from glassgpt.settings import flat
from glassgpt.text.chars import CharTokenizer

TOKENIZER = CharTokenizer(printable)


def make_run(folder: Path) -> None:
    """Two different models: the best one, and the last."""
    folder.mkdir()
    config = ModelConfig(vocab_size=TOKENIZER.vocab_size, d_model=24, n_layers=2, n_heads=3, max_seq_len=64)
    facts: dict[str, Any] = {"tokenizer_json": TOKENIZER.to_json(), "settings": flat(RunConfig())}
    for step, name in enumerate(["best", "last"], start=7):
        weights = weights_of(stirred(GPT(config, seed=step), by=0.3))
        content = Checkpoint(model_config=config, step=step, weights=weights, **facts)
        save_checkpoint(folder / f"{name}.safetensors", content)


def log_probs_of(lm: LanguageModel, ids: list[int]) -> np.ndarray[Any, Any]:
    """A full forward pass: log_probs_TV, row t what the model expects behind token t."""
    with torch.no_grad():
        log_probs_TV: np.ndarray[Any, Any] = lm.model(torch.tensor([ids]))[0][0].log_softmax(-1).numpy()
    return log_probs_TV


def looks_back_most(seen: Trace) -> tuple[int, int, float]:
    """The layer and head that give most of their attention to the token just before, and how much that is."""
    shares = {
        (layer, head): float(np.diagonal(weights_TS, offset=-1).mean())
        for layer, weights_HTS in enumerate(seen.attention)
        for head, weights_TS in enumerate(weights_HTS)
    }
    best = max(shares, key=lambda place: shares[place])
    return *best, shares[best]


def shown(share: float) -> str:
    if share >= 0.0995:
        return f"{math.floor(100 * share + 0.5)} %"
    return f"{100 * share:.1f} %" if share >= 0.001 else "<0.1 %"
