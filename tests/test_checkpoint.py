"""Checkpoints: whole, checked, the same bytes for the same content, and enough to sample from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from glassgpt.checkpoint import Checkpoint, load_checkpoint, load_weights, save_checkpoint, weights_of
from glassgpt.config import ModelConfig, RunConfig
from glassgpt.errors import CheckpointError
from glassgpt.model.gpt import GPT
from glassgpt.plausible import Metrics
from glassgpt.settings import flat
from glassgpt.text.chars import CharTokenizer

MODEL = ModelConfig(vocab_size=5, d_model=8, n_layers=1, n_heads=2, max_seq_len=6, bias=True)
TOKENIZER = CharTokenizer.train(["abcd\n"])


def checkpoint(model: ModelConfig = MODEL, step: int = 3) -> Checkpoint:
    gpt = GPT(model, seed=1)
    memory = {f"{name}/momentum": torch.full_like(weight, 0.5) for name, weight in weights_of(gpt).items()}
    return Checkpoint(
        model_config=model, tokenizer_json=TOKENIZER.to_json(), step=step, settings=flat(RunConfig()),
        origins={"d_model": "flag"}, metrics={**Metrics().model_dump(), "best_val_loss": 1 / 3, "mood": [1, 2.5]},
        weights=weights_of(gpt), optimizer=memory,
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "last.safetensors"
    save_checkpoint(path, checkpoint())
    return path


def test_what_was_saved_is_what_is_loaded(written: Path) -> None:
    before, after = checkpoint(), load_checkpoint(written)
    assert (after.model_config, after.step, after.settings) == (before.model_config, 3, before.settings)
    assert (after.origins, after.metrics) == (before.origins, before.metrics)
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], before.weights[name]) for name in before.weights)
    assert all(torch.equal(after.optimizer[name], before.optimizer[name]) for name in before.optimizer)


def test_a_loaded_model_computes_what_the_saved_one_did(written: Path) -> None:
    ids = torch.tensor([TOKENIZER.encode("abc")])
    assert torch.equal(load_checkpoint(written).model()(ids)[0], GPT(MODEL, seed=1).eval()(ids)[0])
    assert load_checkpoint(written).tokenizer().decode([0, 1]) == TOKENIZER.decode([0, 1])


def test_a_tied_weight_is_stored_once(written: Path) -> None:
    with safe_open(written, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("model/")]  # noqa: SIM118 (it is no dict)
    assert len(names) == len(set(names)) == len(list(GPT(MODEL).parameters()))
    assert not [name for name in names if "head" in name]


def test_the_same_content_is_the_same_bytes_in_another_process(written: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from test_checkpoint import checkpoint; from glassgpt.checkpoint import save_checkpoint;"
        "save_checkpoint(Path(sys.argv[2]), checkpoint())"
    )
    other = tmp_path / "other.safetensors"
    subprocess.run([sys.executable, "-c", program, str(Path(__file__).parent), str(other)], check=True)
    assert other.read_bytes() == written.read_bytes()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_noticed(written: Path, place: float, bit: int) -> None:
    content = bytearray(written.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    damaged = written.with_name("damaged.safetensors")
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged\.safetensors"):
        load_checkpoint(damaged)


@given(place=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_noticed(written: Path, place: float) -> None:
    content = written.read_bytes()
    cut = written.with_name("cut.safetensors")
    cut.write_bytes(content[: int(place * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        load_checkpoint(cut)


def test_a_file_of_another_kind_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("Once upon a time there was a book that was no checkpoint.", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"book\.txt"):
        load_checkpoint(path)
    header = json.dumps({"__metadata__": {"format": "pt", "digest": "0"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="format 'pt'"):
        load_checkpoint(path)


def test_weights_of_another_model_are_refused_by_name_and_shape() -> None:
    weights = weights_of(GPT(MODEL))
    with pytest.raises(CheckpointError, match="lack the tensor"):
        load_weights(GPT(MODEL.but(n_layers=2)), weights)
    with pytest.raises(CheckpointError, match="unknown tensor"):
        load_weights(GPT(MODEL.but(bias=False)), weights)
    with pytest.raises(CheckpointError, match=r"has shape .* where the model wants"):
        load_weights(GPT(MODEL.but(d_ff=12)), weights)
