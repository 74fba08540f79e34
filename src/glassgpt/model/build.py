"""From a configuration to the model that it names: the one place that knows all architectures."""

from __future__ import annotations

from glassgpt.config import ModelConfig
from glassgpt.model.base import Predictor
from glassgpt.model.bigram import Bigram
from glassgpt.model.gpt import GPT


def build(config: ModelConfig, *, seed: int = 0) -> Predictor:
    """A model with its first weights, a function of the two arguments."""
    return {"gpt": GPT, "bigram": Bigram}[config.architecture](config, seed=seed)
