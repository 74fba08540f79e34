"""The bigram model wherever a GPT goes, and the ladder from the one to the other."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import glassgpt
from conftest import TINY
from glassgpt.checkpoint import load_checkpoint
from glassgpt.cli.main import main
from glassgpt.config import DataConfig, ModelConfig
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.device import choose_machine
from glassgpt.errors import CheckpointError
from glassgpt.lab import ladder
from glassgpt.model.base import Predictor
from glassgpt.model.bigram import Bigram
from glassgpt.model.build import build
from glassgpt.model.chain import Chain
from glassgpt.model.count import cache_bytes, count_parameters, flops_per_token, training_bytes
from glassgpt.model.gpt import GPT
from glassgpt.runs import RunFolder
from glassgpt.training.publish import publish

V = 13
BIGRAM = ModelConfig(architecture="bigram", vocab_size=V, max_seq_len=6, token_shift=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> glassgpt.Run:
    """A bigram model trained as any run is, in a folder of its own."""
    folder = tmp_path_factory.mktemp("bigram")
    (folder / "rhyme.txt").write_text("one two three four five, once I caught a fish alive.\n" * 60, encoding="utf-8")
    return glassgpt.train(
        folder / "rhyme.txt", out=folder / "run", architecture="bigram", max_steps=60, learning_rate=0.1,
        eval_every=30, sample_every=30, publish=[str(folder / "bigram.pt")], **TINY,
    )  # fmt: skip


# --- a model like any other -----------------------------------------------------------------------------------------


def test_an_architecture_is_built_by_its_name_from_its_seed() -> None:
    assert type(build(BIGRAM, seed=2)) is Bigram
    assert type(build(BIGRAM.but(architecture="gpt"), seed=2)) is GPT
    assert torch.equal(next(build(BIGRAM, seed=2).parameters()), next(Bigram(BIGRAM, seed=2).parameters()))


def test_what_a_bigram_costs_is_counted_as_it_is() -> None:
    assert count_parameters(BIGRAM).total == sum(p.numel() for p in Bigram(BIGRAM).parameters()) == V * V
    assert (flops_per_token(BIGRAM, 6), cache_bytes(BIGRAM)) == (0, 0)
    assert training_bytes(BIGRAM, batch_size=2, seq_len=6).activations == 2 * 12 * V * 4  # the logits alone


def test_a_bigram_learns_writes_and_keeps_what_it_learned(run: glassgpt.Run) -> None:
    lm = run.load(device="cpu")
    assert isinstance(lm.model, Bigram)
    assert run.best_val_loss < 1.5  # a rhyme has few pairs; nothing learned would be ln(23) = 3.1
    written = (run.folder / "samples.txt").read_text(encoding="utf-8")
    headings = re.findall(r"^=== step (\d+) ===$", written, re.MULTILINE)
    assert headings == ["10", "20", "30", "60"]  # the first two are early ones
    assert lm.generate("one", max_new_tokens=100, seed=1) == glassgpt.load(run.folder / "last.safetensors").generate(
        "one", max_new_tokens=100, seed=1
    )


def test_the_fast_way_of_writing_equals_the_slow_one_for_a_bigram_too(run: glassgpt.Run) -> None:
    lm = run.load(device="cpu")
    slow = lm.decode(lm.model.generate(torch.tensor([lm.encode("one")]), 80, temperature=0)[0].tolist())
    assert slow == lm.generate("one", max_new_tokens=80, temperature=0)


@pytest.mark.parametrize("choice", [{"optimizer": "muon"}, {"gradient_checkpointing": True}, {"dropout": 0.5}])
def test_choices_that_mean_nothing_to_a_bigram_do_it_no_harm(rhyme: Path, tmp_path: Path, choice: Any) -> None:
    run = glassgpt.train(rhyme, out=tmp_path / "run", architecture="bigram", max_steps=2, **(TINY | choice))
    assert run.steps == 2


def test_a_bigram_is_resumed_with_its_bits(rhyme: Path, tmp_path: Path) -> None:
    wanted = TINY | {"architecture": "bigram", "schedule": "constant"}
    whole = glassgpt.train(rhyme, out=tmp_path / "whole", max_steps=6, **wanted)
    half = glassgpt.train(rhyme, out=tmp_path / "half", max_steps=3, **wanted)
    resumed = glassgpt.resume(half.folder, max_steps=6)
    tables = [next(run.model(device="cpu").parameters()) for run in (whole, resumed)]
    assert torch.equal(*tables)


def test_the_commands_take_a_bigram_as_a_run_and_as_a_file(
    run: glassgpt.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    published = run.folder.parent / "bigram.pt"
    assert main(["info", str(published)]) == 0
    told = capsys.readouterr().out
    assert "bigram: a table" in told
    assert "layers" not in told
    written = []
    for place in (run.folder, published):
        assert main(["sample", str(place), "--prompt", "one", "--max-new-tokens", "30", "--seed", "3"]) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1]
    assert main(["eval", str(published)]) == 0
    assert "this model (step" in capsys.readouterr().out


def test_a_checkpoint_of_the_other_architecture_is_refused(run: glassgpt.Run) -> None:
    checkpoint = run.load(device="cpu").checkpoint
    other = type(checkpoint)(**(vars(checkpoint) | {"model_config": checkpoint.model_config.but(architecture="gpt")}))
    with pytest.raises(CheckpointError, match="its configuration makes"):
        other.model()


# --- writing no further than was learned ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_sighted(tmp_path_factory: pytest.TempPathFactory) -> glassgpt.LanguageModel:
    """Positions for 32 tokens, of which 8 were trained; the others would spoil any text that reached them."""
    folder = tmp_path_factory.mktemp("short")
    (folder / "rhyme.txt").write_text("one two three four five, once I caught a fish alive.\n" * 60, encoding="utf-8")
    lm = glassgpt.train(
        folder / "rhyme.txt", out=folder / "run", max_steps=2, position="learned", **(TINY | {"seq_len": 8})
    ).load(device="cpu")
    with torch.no_grad():
        lm.model.get_parameter("position_embedding.weight")[8:] = torch.nan
    return lm


def test_a_loaded_model_writes_only_into_positions_that_were_trained(short_sighted: glassgpt.LanguageModel) -> None:
    lm = short_sighted
    assert (lm.model.context, lm.model.config.max_seq_len) == (8, 32)
    context = torch.zeros((1, 1), dtype=torch.long)
    slow = lm.decode(lm.model.generate(context, 60, temperature=0)[0].tolist())
    assert slow == lm.generate(lm.decode([0]), max_new_tokens=60, temperature=0)
    assert len(lm.generate("one two three four five", max_new_tokens=40)) == 23 + 40


@pytest.mark.parametrize("architecture", ["gpt", "bigram"])
def test_the_line_that_people_know_from_micro_gpt_works_on_what_was_loaded(
    architecture: str, rhyme: Path, tmp_path: Path
) -> None:
    run = glassgpt.train(
        rhyme, preset="micro_gpt", architecture=architecture, out=tmp_path / "run", max_steps=2, eval_batches=2,
        warmup_steps=0, device="cpu", threads=1, precision="fp32",
    )  # fmt: skip
    lm = glassgpt.load(run.folder, device="cpu")
    model, _, decode = lm.model, lm.encode, lm.decode
    context = torch.zeros((1, 1), dtype=torch.long)
    assert len(decode(model.generate(context, 500)[0].tolist())) == 501


# --- the ladder -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some thirty thousand characters in which looking back pays."""
    path = tmp_path_factory.mktemp("ladder") / "input.txt"
    verses = [f"{n} green bottles hanging on the wall, and if {n} should fall,\n" for n in range(500)]
    path.write_text("".join(verses), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prepared(book: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(DataConfig(data=(str(book),)), cache=tmp_path_factory.mktemp("cache"))


def test_each_rung_reads_the_same_batches_and_is_marked_on_the_same_windows(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bytes]] = []
    forward = Predictor.forward

    def watched(self: Predictor, ids_BT: torch.Tensor, *rest: Any, **named: Any) -> Any:
        seen.append((self.training, ids_BT.numpy().tobytes()))
        return forward(self, ids_BT, *rest, **named)

    monkeypatch.setattr(Predictor, "forward", watched)
    reached = []
    per_rung = []
    for rung in ladder.climb(prepared, choose_machine(ladder.TRAINING, "cpu"), steps=3, seed=1):
        reached.append(rung)
        per_rung.append(list(seen))
        seen.clear()
    assert [rung.rung for rung in reached] == list(ladder.RUNGS)
    assert sum(training for training, _ in per_rung[0]) == 3
    assert all(batches == per_rung[0] for batches in per_rung)


def test_the_rungs_grow_by_what_their_names_say() -> None:
    shape = ladder.SHAPE.but(vocab_size=V)
    bigram, one, many, thinking, block, gpt = (rung.build(shape, 1) for rung in ladder.RUNGS)
    counts = [sum(p.numel() for p in model.parameters()) for model in (bigram, one, many, thinking, block, gpt)]
    assert counts == sorted(counts)
    assert counts[1] == counts[2]  # more heads, not more weights
    assert isinstance(bigram, Bigram)
    assert isinstance(one, Chain)
    assert one.attention.split[0] == 1
    assert isinstance(thinking, Chain)
    assert thinking.mlp is not None
    assert isinstance(block, GPT)
    assert len(block.blocks) == 1
    assert isinstance(gpt, GPT)
    assert len(gpt.blocks) == shape.n_layers
    assert gpt.config == shape


@pytest.mark.parametrize("rung", ladder.RUNGS[1:], ids=lambda rung: rung.added)
def test_a_rung_never_looks_ahead_and_begins_with_nearly_even_odds(rung: ladder.Rung) -> None:
    model = rung.build(ladder.SHAPE.but(vocab_size=V), 1).eval()
    ids_BT = torch.randint(V, (2, 9), generator=torch.Generator().manual_seed(1))
    changed_BT = ids_BT.clone()
    changed_BT[:, 5] = (changed_BT[:, 5] + 1) % V
    before, after = model(ids_BT)[0], model(changed_BT)[0]
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])
    assert before.std() < 0.5


def test_the_ladder_is_told_in_a_table_and_leaves_a_model_to_play_with(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from glassgpt.cli.bigram import climb

    monkeypatch.chdir(book.parent)
    model, encode, decode, context = climb(["--steps", "20", "--device", "cpu"])
    told = capsys.readouterr()
    assert "input.txt, which lies here" in told.err
    table = [line for line in told.out.splitlines() if any(line.startswith(rung.added + "  ") for rung in ladder.RUNGS)]
    assert len(table) == len(ladder.RUNGS)
    losses = [
        float(row[len(ladder.RUNGS[0].added) :].split()[-3 if number else -2]) for number, row in enumerate(table)
    ]
    gains = [float(row.split()[-2]) for row in table[1:]]
    assert gains == pytest.approx([before - after for before, after in itertools.pairwise(losses)], abs=2e-4)
    assert told.out.count("writes:") == 2
    assert len(decode(model.generate(context, 500)[0].tolist())) == 501
    assert decode(encode("green bottles")) == "green bottles"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "0"], "steps='0': it should be a whole number, 1 or more"),
        (["--steps", "many"], "steps='many'"),
        (["--seed", "-1"], "seed"),
        (["nowhere.txt"], "nowhere.txt"),
        (["--step", "3"], "did you mean --steps?"),
    ],
)
def test_mistakes_at_the_ladder_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bigram", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_published_copy_says_whether_it_replaced_one_and_a_bad_place_costs_a_line_only(
    run: glassgpt.Run, tmp_path: Path
) -> None:
    folder, place = RunFolder(run.folder), tmp_path / "new" / "folder" / "model.pt"
    assert publish([str(place)], folder) == ([place], [f"published {place}"])
    assert publish([str(place)], folder) == ([place], [f"replaced {place}"])
    assert load_checkpoint(place).step == load_checkpoint(folder.best).step
    (tmp_path / "taken.pt").mkdir()
    copies, lines = publish([str(tmp_path / "taken.pt"), str(tmp_path / "log.csv")], folder)
    assert copies == [tmp_path / "log.csv"]
    assert "could not be written" in lines[0]
