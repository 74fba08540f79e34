"""`import glassgpt`, from Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import glassgpt
from glassgpt.errors import ConfigError, GlassgptError, RunError
from glassgpt.training.events import Event, Finished, Started

SMALL: dict[str, Any] = {
    "n_layer": 1, "n_embd": 16, "n_head": 2, "block_size": 16, "batch_size": 4, "device": "cpu", "precision": "fp32",
}  # fmt: skip


@pytest.fixture(scope="module")
def lm(home: Path) -> glassgpt.LanguageModel:
    return glassgpt.load(home / "runs" / "book", device="cpu")


def test_a_folder_a_file_a_name_and_the_newest_are_the_same_model(at_home: Path, lm: glassgpt.LanguageModel) -> None:
    text = lm.generate("The owl", max_new_tokens=20, seed=3)
    for run in ("runs/book", Path("runs/book/best.safetensors"), "book", None):
        assert glassgpt.load(run, device="cpu").generate("The owl", max_new_tokens=20, seed=3) == text


def test_generated_text_begins_with_its_prompt_and_depends_on_the_seed(lm: glassgpt.LanguageModel) -> None:
    one, two = (lm.generate("The owl", max_new_tokens=30, temperature=0.8, seed=seed) for seed in (1, 2))
    assert one.startswith("The owl")
    assert len(one) == len("The owl") + 30
    assert one != two
    assert one == lm.generate("The owl", max_new_tokens=30, temperature=0.8, seed=1)


def test_the_stream_together_is_the_text_and_every_event_has_its_probability(lm: glassgpt.LanguageModel) -> None:
    events = list(lm.stream("The owl", max_new_tokens=25, seed=5))
    assert "The owl" + "".join(event.text for event in events) == lm.generate("The owl", max_new_tokens=25, seed=5)
    assert all(-math.inf < event.log_prob <= 0 for event in events)
    assert events[-1].finished == "length"
    assert lm.decode([event.token_id for event in events]) == "".join(event.text for event in events)


def test_the_stream_s_probabilities_are_the_model_s_own(lm: glassgpt.LanguageModel) -> None:
    events = list(lm.stream("The", max_new_tokens=6, temperature=0.5, seed=5))
    ids = torch.tensor([lm.encode("The") + [event.token_id for event in events]])
    with torch.no_grad():
        log_probs = lm.model(ids)[0][0].log_softmax(dim=-1)
    for place, event in enumerate(events, start=2):
        assert event.log_prob == pytest.approx(float(log_probs[place, event.token_id]), abs=1e-4)


def test_several_samples_differ_and_share_the_prompt(lm: glassgpt.LanguageModel) -> None:
    texts = lm.samples("The", num_samples=3, max_new_tokens=30)
    assert len(set(texts)) == 3
    assert all(text.startswith("The") for text in texts)


def test_model_encode_decode_work_as_people_know_them(lm: glassgpt.LanguageModel) -> None:
    model, encode, decode = lm.model, lm.encode, lm.decode
    context = torch.tensor([encode("The owl")])
    text = decode(model.generate(context, 40)[0].tolist())
    assert text.startswith("The owl")
    assert len(text) == 47


def test_a_model_never_looks_further_than_it_was_trained(lm: glassgpt.LanguageModel) -> None:
    """max_seq_len is 32, but windows of 16 were trained."""
    long_prompt = "The owl flew over the sea, and the sea "
    seen = lm.generate(long_prompt, max_new_tokens=5, temperature=0)
    assert seen[len(long_prompt) :] == lm.generate(long_prompt[-8:], max_new_tokens=5, temperature=0)[8:]


def test_training_is_quiet_and_returns_what_it_reached(
    at_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[Event] = []
    run = glassgpt.train(Path("book.txt"), max_steps=4, out=tmp_path / "a", on_event=events.append, **SMALL)
    assert capsys.readouterr() == ("", "")
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Started) for event in events)
    assert (run.steps, run.folder) == (4, tmp_path / "a")
    assert run.best_val_loss == events[-1].best_val_loss
    assert run.floor is None
    assert run.load(device="cpu").generate("The", max_new_tokens=2).startswith("The")
    assert sum(parameter.numel() for parameter in run.model(device="cpu").parameters()) > 0
    assert all(path.is_file() for path in run.files.values())


def test_a_run_goes_on_for_longer_than_planned(at_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    glassgpt.train("book.txt", max_steps=3, out=folder, **SMALL)
    with pytest.raises(RunError, match="finished already"):
        glassgpt.resume(folder)
    assert glassgpt.resume(folder, max_iters=5).steps == 5


def test_mistakes_are_exceptions_of_one_tree(at_home: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean max_steps"):
        glassgpt.train("book.txt", max_stps=3)
    with pytest.raises(GlassgptError, match="no run or checkpoint"):
        glassgpt.load("nowhere")
    with pytest.raises(ConfigError, match="did you mean temperature"):
        glassgpt.load("book", device="cpu").generate("The", temprature=1)


def test_the_package_names_what_it_offers() -> None:
    assert set(dir(glassgpt)) == {"LanguageModel", "Run", "__version__", "load", "resume", "train"}
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        glassgpt.lode  # noqa: B018
