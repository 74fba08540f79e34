"""The presets: each resolves, says what it is for, and is the model that its users were promised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from glassgpt import settings
from glassgpt.errors import ConfigError
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
SMALL: dict[str, object] = {
    "vocab_size": 1000,
    "d_model": 256,
    "n_layers": 4,
    "n_heads": 8,
    "d_ff": 1024,
    "max_seq_len": 512,
    "seq_len": 128,
    "dropout": 0.1,
    "tie_weights": True,
    "batch_size": 32,
    "learning_rate": 3e-4,
    "max_steps": 10_000,
} | {
    "warmup_steps": 1000,
    "weight_decay": 0.01,
    "gradient_clip": 1.0,
    "optimizer": "adamw",
    "eval_every": 500,
    "save_every": 1000,
    "log_every": 100,
    "tokenizer": "tokenizer.json",
    "data": ["data/tiny.txt"],
    "publish": ["checkpoints/model.pt", "logs/training.csv"],
}
PROMISED: dict[str, dict[str, object]] = {
    "tiny_gpt": {"n_layers": 3, "n_heads": 4, "d_model": 192, "d_ff": 768, "seq_len": 128, "max_seq_len": 128}
    | {"batch_size": 32, "max_steps": 500, "learning_rate": 3e-4, "optimizer": "adamw", "data": ["wikitext-103"]}
    | {"fallback": ["tinyshakespeare", "tales"], "tokenizer": "char", "publish": ["tiny_gpt_checkpoint.pt"]},
    "mini_gpt": LARGE | {"publish": ["checkpoints/best_model.pt"], "data": ["tinyshakespeare"]},
    "nano_gpt": LARGE | {"warmup_steps": 100, "min_lr_ratio": 0.1, "publish": ["out/ckpt.pt"]},
    "tiny": SMALL | {"position": "learned"},
    "rope_config": SMALL | {"position": "rope"},
    "micro_gpt": {"d_model": 10, "n_layers": 2, "n_heads": 2, "max_seq_len": 12, "seq_len": 12, "batch_size": 8}
    | {"max_steps": 3000, "learning_rate": 1e-2, "dropout": 0.2, "eval_every": 100, "eval_batches": 100}
    | {"data": ["input.txt"], "fallback": ["tinyshakespeare", "tales"]},
    "micro_gpt_large": LARGE | {"eval_every": 500, "eval_batches": 200},
    "bigram": {"architecture": "bigram"},
}


def test_every_file_in_configs_is_a_preset_that_resolves_and_says_in_one_line_what_it_is_for() -> None:
    assert set(PROMISED) <= set(settings.presets())
    assert set(settings.presets()) == {file.stem for file in CONFIGS.glob("*.yaml")} - {"sweep"}
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


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("tiny_gpt", 1.2e6, 1.5e6), ("mini_gpt", 10e6, 15e6), ("tiny", 3e6, 4e6), ("micro_gpt", 2_000, 5_000)],
)
def test_a_preset_has_the_size_that_its_line_says(name: str, least: float, most: float) -> None:
    config = settings.resolve(preset=name).config.model.but(vocab_size=SHAKESPEARE_CHARACTERS)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in GPT(config).parameters())
    assert least <= parameters <= most


def test_flags_stand_over_a_preset() -> None:
    resolved = settings.resolve(preset="mini_gpt", flags={"n_layer": 2})
    assert (resolved.config.model.n_layers, resolved.origins["n_layers"]) == (2, "flag")


def test_the_way_out_of_one_text_is_none_for_another() -> None:
    assert settings.resolve(preset="mini_gpt").config.data.fallback == ("tales",)
    assert settings.resolve(preset="mini_gpt", flags={"data": "book.txt"}).config.data.fallback == ()
    both = settings.resolve(preset="mini_gpt", flags={"data": "wikitext-103", "fallback": "tales"})
    assert both.config.data.fallback == ("tales",)


def test_a_preset_made_much_shorter_warms_up_in_time() -> None:
    resolved = settings.resolve(preset="tiny_gpt", flags={"max_iters": "20"})
    assert resolved.config.training.warmup_steps == 2
    assert resolved.origins["warmup_steps"] == "a tenth of max_steps, instead of 50"
    assert settings.resolve(preset="tiny_gpt", flags={"max_iters": "60"}).config.training.warmup_steps == 50
    with pytest.raises(ConfigError, match="warmup_steps=30 is longer than the run"):
        settings.resolve(preset="tiny_gpt", flags={"max_iters": "20", "warmup_iters": "30"})


def test_an_environment_variable_shortens_every_run_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSGPT_MAX_STEPS", "20")
    resolved = settings.resolve(preset="tiny")
    assert (resolved.config.training.max_steps, resolved.config.training.warmup_steps) == (20, 2)
    assert resolved.origins["max_steps"] == "GLASSGPT_MAX_STEPS"
    assert settings.resolve(flags={"max_steps": 5}).config.training.max_steps == 5
    monkeypatch.setenv("GLASSGPT_MAX_STEPS", "many")
    with pytest.raises(ConfigError, match="GLASSGPT_MAX_STEPS='many' is no number"):
        settings.resolve()
