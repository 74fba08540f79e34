"""From a text to what a model writes, through every floor of the house, as somebody would who uses it from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import glassgpt
from glassgpt.errors import GlassgptError

SMALL: dict[str, Any] = {
    "n_layers": 1, "d_model": 16, "n_heads": 2, "seq_len": 16, "max_seq_len": 32, "batch_size": 4, "max_steps": 8,
    "eval_every": 4, "save_every": 4, "log_every": 2, "device": "cpu", "precision": "fp32", "threads": 1,
}  # fmt: skip
TOKENIZERS: dict[str, dict[str, Any]] = {"characters": {}, "byte pairs": {"vocab_size": 300}}
FORMS: dict[str, dict[str, Any]] = {
    "gpt": {},
    "gpt2": {"position": "learned", "norm": "layernorm", "mlp": "gelu", "bias": True, "qk_norm": False},
    "bigram": {"architecture": "bigram", "optimizer": "adamw"},
}


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_text_becomes_a_model_that_writes_wherever_it_is_taken(
    form: str, tokenizer: str, rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = glassgpt.train(rhyme, publish=["copies/model.pt", "copies/log.csv"], **SMALL, **TOKENIZERS[tokenizer],
                         **FORMS[form])  # fmt: skip
    written = run.load().generate("1 little mice", max_new_tokens=30, seed=5)
    assert written.startswith("1 little mice")
    assert len(written) > len("1 little mice")
    for place in (run.files["best"], tmp_path / "copies/model.pt", run.folder):
        assert glassgpt.load(place).generate("1 little mice", max_new_tokens=30, seed=5) == written
    assert (tmp_path / "copies/log.csv").read_bytes() == run.files["log"].read_bytes()


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_run_that_was_made_longer_is_the_run_that_was_planned_so(
    tokenizer: str, rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choices = SMALL | TOKENIZERS[tokenizer] | {"schedule": "constant"}
    glassgpt.train(rhyme, out="first", **choices)
    longer = glassgpt.resume("first", max_steps=16)
    planned = glassgpt.train(rhyme, out="second", **(choices | {"max_steps": 16}))
    assert longer.best_val_loss == planned.best_val_loss
    assert glassgpt.load("first/last.safetensors").generate(seed=1) == glassgpt.load(
        "second/last.safetensors"
    ).generate(seed=1)


def test_a_mistake_anywhere_is_one_kind_of_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mistakes: list[dict[str, Any]] = [
        {"data": "nothing.txt"},
        {"data": "tales:20KB", "d_model": 10, "n_heads": 4},
        {"data": "tales:20KB", "vocab_size": 100_000},
        {"data": "tales:20KB", "preset": "no_such_preset"},
        {"data": "tales:20KB", "tokenizer": "tokenizer.txt"},
        {"data": "tales:20KB", "publish": "model.zip"},
    ]
    for choices in mistakes:
        with pytest.raises(GlassgptError) as caught:
            glassgpt.train(**choices)
        assert "\n" not in str(caught.value)
    assert not Path("runs").exists(), "nothing was written"
