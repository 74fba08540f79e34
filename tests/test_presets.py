"""The presets: each resolves, says what it is for, and is the model that its users were promised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from glassgpt import settings
from glassgpt.model.gpt import GPT

CONFIGS = Path(__file__).parents[1] / "configs"
SHAKESPEARE_CHARACTERS = 65
LARGE: dict[str, object] = {
    "d_model": 384,
    "n_layers": 6,
    "n_heads": 6,
    "max_seq_len": 256,
    "seq_len": 256,
    "batch_size": 64,
} | {
    "max_steps": 5000,
    "learning_rate": 3e-4,
    "dropout": 0.2,
    "position": "learned",
    "tie_weights": True,
    "optimizer": "adamw",
    "schedule": "cosine",
    "gradient_clip": 1.0,
}
PROMISED: dict[str, dict[str, object]] = {
    "mini_gpt": LARGE,
    "nano_gpt": LARGE | {"warmup_steps": 100, "min_lr_ratio": 0.1},
    "micro_gpt": {"d_model": 10, "n_layers": 2, "n_heads": 2, "max_seq_len": 12, "seq_len": 12, "batch_size": 8}
    | {"max_steps": 3000, "learning_rate": 1e-2, "dropout": 0.2, "eval_every": 100, "eval_batches": 100},
    "micro_gpt_large": LARGE | {"eval_every": 500, "eval_batches": 200},
}


def test_every_file_in_configs_is_a_preset_that_resolves_and_says_in_one_line_what_it_is_for() -> None:
    assert set(PROMISED) <= set(settings.presets())
    assert set(settings.presets()) == {file.stem for file in CONFIGS.glob("*.yaml")}
    for name, purpose in settings.presets().items():
        first_line = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        assert first_line == f"# {purpose}"
        assert len(purpose) > 20
        resolved = settings.resolve(preset=name)
        assert set(resolved.origins.values()) == {f"preset {name}"}


@pytest.mark.parametrize("name", PROMISED)
def test_a_preset_holds_the_values_that_its_users_know(name: str) -> None:
    flat = settings.flat(settings.resolve(preset=name).config)
    assert {field: flat[field] for field in PROMISED[name]} == PROMISED[name]
    assert flat["vocab_size"] is None  # the characters of the text decide


@pytest.mark.parametrize(("name", "least", "most"), [("mini_gpt", 10e6, 15e6), ("micro_gpt", 2_000, 5_000)])
def test_a_preset_has_the_size_that_its_line_says(name: str, least: float, most: float) -> None:
    config = settings.resolve(preset=name).config.model.but(vocab_size=SHAKESPEARE_CHARACTERS)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in GPT(config).parameters())
    assert least <= parameters <= most


def test_flags_stand_over_a_preset() -> None:
    resolved = settings.resolve(preset="mini_gpt", flags={"n_layer": 2})
    assert (resolved.config.model.n_layers, resolved.origins["n_layers"]) == (2, "flag")
