"""Building a model and running it once loads no compiler: torch's takes seconds to import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import glassgpt

CODE = """
import sys
import torch
from glassgpt.config import ModelConfig
from glassgpt.model.gpt import GPT
model = GPT(ModelConfig(vocab_size=7, position="learned", dropout=0.1, token_shift=1, bias=True))
model(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long))[1].backward()
sys.exit("torch._dynamo" in sys.modules)
"""


def test_a_model_is_built_and_computes_without_loading_the_compiler() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(glassgpt.__path__[0]).parent)}
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=120, env=environment)
