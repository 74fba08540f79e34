"""Training: what a step does, what the learning rate is, and what a run says about itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.checkpoint import load_checkpoint
from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.data.batches import Batches
from glassgpt.device import Machine, choose_machine
from glassgpt.errors import ConfigError, DivergenceError, RunError
from glassgpt.model.gpt import GPT
from glassgpt.settings import resolve
from glassgpt.training.events import Evaluated, Event, Finished, Note, Sampled, Saved, Started, Stepped
from glassgpt.training.hindsight import MOST_UNREAD
from glassgpt.training.loop import train
from glassgpt.training.metrics import TIME_COLUMNS, Progress
from glassgpt.training.optim import Optimizers, is_hidden_matrix
from glassgpt.training.schedule import learning_rate_share, window_length
from glassgpt.training.step import Trainer, chance

MODEL = ModelConfig(vocab_size=23, d_model=24, n_layers=2, n_heads=3, max_seq_len=16, bias=True)
SMALL: dict[str, Any] = {
    "d_model": 24, "n_layers": 2, "n_heads": 3, "max_seq_len": 32, "seq_len": 16, "batch_size": 8, "threads": 1,
    "precision": "fp32", "max_steps": 20, "eval_every": 10, "save_every": 10, "sample_every": 10, "log_every": 5,
}  # fmt: skip


def trainer(model: ModelConfig = MODEL, **choices: Any) -> Trainer:
    values: dict[str, Any] = {"batch_size": 32, "seq_len": 8, "max_steps": 50, "precision": "fp32", "threads": 1}
    config = TrainingConfig(**(values | choices))
    ids = np.random.default_rng(0).integers(0, 23, size=2000).astype(np.uint16)
    gpt = GPT(model, seed=3)
    gpt.checkpointing = config.gradient_checkpointing
    batches = Batches(ids, seq_len=config.seq_len, batch_size=config.batch_size, seed=config.seed)
    return Trainer(
        model=gpt, forward=gpt, optimizers=Optimizers(gpt, config), batches=batches, config=config,
        machine=choose_machine(config, "cpu"),
    )  # fmt: skip


def after_one_step(trained: Trainer) -> dict[str, torch.Tensor]:
    trained.take_step(0)
    return {
        name: parameter.grad.clone()
        for name, parameter in trained.model.named_parameters()
        if parameter.grad is not None
    }


def run(rhyme: Path, out: Path, **choices: Any) -> list[Event]:
    return list(train(resolve(flags=SMALL | {"data": str(rhyme), "out": str(out)} | choices)))


def test_four_micro_batches_of_eight_make_the_gradient_of_one_batch_of_32() -> None:
    parts, whole = after_one_step(trainer(grad_accum=4)), after_one_step(trainer(grad_accum=1))
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_checkpointed_blocks_draw_the_same_dropout_and_give_the_same_gradients() -> None:
    model = MODEL.but(dropout=0.3)
    again, plain = after_one_step(trainer(model, gradient_checkpointing=True)), after_one_step(trainer(model))
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_a_step_is_a_function_of_its_number_and_not_of_what_torch_drew_before() -> None:
    model = MODEL.but(dropout=0.3)
    first, second = trainer(model), trainer(model)
    torch.rand(17)
    losses = [float(first.take_step(7).loss)]
    torch.rand(5)
    losses += [float(second.take_step(7).loss)]
    assert losses[0] == losses[1]
    assert float(trainer(model).take_step(8).loss) != losses[0]


def test_chance_differs_in_each_of_its_arguments() -> None:
    base = (1, 2, 3, "dropout")
    others = [
        (9, 2, 3, "dropout"),
        (1, 9, 3, "dropout"),
        (1, 2, 9, "dropout"),
        (1, 2, 3, "noise"),
        (12, 3, 3, "dropout"),
    ]
    assert len({chance(*arguments) for arguments in [base, *others]}) == 6
    assert all(0 <= chance(*arguments) < 2**63 for arguments in others)


def test_the_first_loss_is_that_of_even_odds() -> None:
    assert float(trainer().take_step(0).loss) == pytest.approx(math.log(23), abs=0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_learning_lowers_the_loss_on_text_that_can_be_learned(rhyme: Path, tmp_path: Path, optimizer: str) -> None:
    events = run(rhyme, tmp_path / "run", optimizer=optimizer, max_steps=60, learning_rate=0.01)
    losses = [event.val_loss for event in events if isinstance(event, Evaluated)]
    assert losses[-1] < 1.5 < losses[0]


def test_muon_moves_the_hidden_matrices_and_adamw_all_else() -> None:
    optimizers = trainer(optimizer="muon").optimizers
    kinds = {type(part).__name__: part for part in optimizers._parts}
    model_names = {name for name, parameter in GPT(MODEL).named_parameters() if is_hidden_matrix(name, parameter)}
    muon = {optimizers._names[p] for group in kinds["Muon"].param_groups for p in group["params"]}
    adamw = {optimizers._names[p] for group in kinds["AdamW"].param_groups for p in group["params"]}
    assert muon == model_names
    assert {"blocks.0.attention.qkv.weight", "blocks.1.mlp.down.weight"} <= muon
    assert {"token_embedding.weight", "final_norm.weight"} <= adamw
    assert not muon & adamw


def test_decay_pulls_matrices_and_leaves_biases_and_norms_alone() -> None:
    optimizers = trainer(optimizer="adamw", weight_decay=0.7).optimizers
    decay = {
        optimizers._names[p]: group["weight_decay"]
        for group in optimizers._parts[0].param_groups
        for p in group["params"]
    }
    assert decay["blocks.0.mlp.up.weight"] == decay["token_embedding.weight"] == 0.7
    assert decay["blocks.0.attention.qkv.bias"] == decay["blocks.0.mlp_norm.weight"] == 0.0


def test_a_gradient_is_never_longer_than_its_limit() -> None:
    trained = trainer(gradient_clip=0.01)
    result = trained.take_step(0)
    length = math.sqrt(sum(float(p.grad.square().sum()) for p in trained.model.parameters() if p.grad is not None))
    assert float(result.gradient_norm) > 0.01  # what is logged is the length before
    assert length == pytest.approx(0.01, rel=1e-3)


def test_a_loss_that_is_no_number_changes_no_weight() -> None:
    trained = trainer()
    with torch.no_grad():
        trained.model.get_parameter("final_norm.weight")[0] = math.nan
    before = {name: parameter.clone() for name, parameter in trained.model.named_parameters()}
    with pytest.raises(DivergenceError, match=r"step 4: .*--learning-rate"):
        trained.take_step(3)
    for name, parameter in trained.model.named_parameters():
        assert torch.equal(parameter, before[name]) or name == "final_norm.weight"


@pytest.fixture
def lagging(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CUDA device: the host reads nothing until it has to."""
    monkeypatch.setattr(Machine, "lags_behind", True)


def falling_over(trained: Trainer, *, at: set[int]) -> list[float]:
    """Take six steps, of which some lose their numbers; the losses as they are read at the end."""
    model, steps = trained.model, iter(range(6))

    def forward(ids_BT: torch.Tensor, targets_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits_BTV, loss = model(ids_BT, targets_BT)
        return logits_BTV, loss * (math.inf if next(steps) in at else 1.0)

    trained.forward = forward
    for step in range(6):
        trained.take_step(step)
    return trained.losses()


def everything(trained: Trainer) -> dict[str, torch.Tensor]:
    whole = dict(trained.model.named_parameters()) | trained.optimizers.state()
    return {name: tensor.detach().clone() for name, tensor in whole.items()}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_lost_step_that_is_read_late_has_changed_nothing_and_nor_have_those_after_it(
    lagging: None, optimizer: str
) -> None:
    trained, until_then = (trainer(optimizer=optimizer, weight_decay=0.1) for _ in range(2))
    for step in range(3):
        until_then.take_step(step)
    with pytest.raises(DivergenceError, match=r"step 4: loss=inf"):
        falling_over(trained, at={3})
    after, before = everything(trained), everything(until_then)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_lost_run_ends_even_if_nobody_reads(lagging: None) -> None:
    trained = trainer()
    with torch.no_grad():
        trained.model.get_parameter("final_norm.weight")[0] = math.nan
    for step in range(MOST_UNREAD - 1):
        trained.take_step(step)
    with pytest.raises(DivergenceError, match=r"step 1: "):
        trained.take_step(MOST_UNREAD - 1)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_with_a_loss_scaler_only_the_step_that_overflowed_is_skipped(optimizer: str) -> None:
    trained, without = (trainer(optimizer=optimizer) for _ in range(2))
    trained.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    trained.__post_init__()
    assert len(falling_over(trained, at={0, 2})) == 6
    assert trained.scaler.get_scale() == 1.0  # halved twice
    for step in (1, 3, 4, 5):
        without.take_step(step)
    for name, tensor in everything(without).items():
        torch.testing.assert_close(everything(trained)[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_that_reads_its_losses_late_is_the_same_to_the_last_bit(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    for name, late in (("at once", False), ("late", True)):
        monkeypatch.setattr(Machine, "lags_behind", late)
        run(rhyme, tmp_path / name, optimizer=optimizer, weight_decay=0.1, log_every=7)
    one, other = (load_checkpoint(tmp_path / name / "last.safetensors") for name in ("at once", "late"))
    assert one.metrics["history"] == other.metrics["history"]
    for saved, same in ((one.weights, other.weights), (one.optimizer, other.optimizer)):
        assert all(torch.equal(tensor, same[name]) for name, tensor in saved.items())
    logs = [[line.split(",") for line in (tmp_path / name / "log.csv").read_text("utf-8").splitlines()]
            for name in ("at once", "late")]  # fmt: skip
    timed = {place for place, column in enumerate(logs[0][0]) if column in TIME_COLUMNS}
    first, second = ([[cell for place, cell in enumerate(row) if place not in timed] for row in log] for log in logs)
    assert first == second


schedules = st.builds(
    TrainingConfig,
    max_steps=st.integers(20, 500), warmup_steps=st.integers(0, 20), min_lr_ratio=st.floats(0, 1),
    schedule=st.sampled_from(["cosine", "linear", "constant"]), decay_fraction=st.floats(0, 1),
)  # fmt: skip


@given(schedules)
def test_the_learning_rate_rises_to_the_peak_and_never_below_its_end(config: TrainingConfig) -> None:
    shares = [learning_rate_share(step, config) for step in range(config.max_steps)]
    warm, rest = shares[: config.warmup_steps], shares[config.warmup_steps :]
    assert all(0 < share <= 1 for share in warm)
    assert warm == sorted(warm)
    assert rest == sorted(rest, reverse=True)
    assert all(config.min_lr_ratio - 1e-9 <= share <= 1 for share in rest)
    assert max(shares) == 1


def test_the_learning_rate_by_hand() -> None:
    cosine = TrainingConfig(max_steps=110, warmup_steps=10, schedule="cosine", decay_fraction=1, min_lr_ratio=0.1)
    assert [round(learning_rate_share(step, cosine), 4) for step in (0, 9, 10, 60, 110)] == [0.1, 1.0, 1.0, 0.55, 0.1]
    late = TrainingConfig(max_steps=100, schedule="linear", decay_fraction=0.5)
    assert [learning_rate_share(step, late) for step in (0, 50, 75)] == [1.0, 1.0, 0.5]


def test_a_run_tells_its_story_in_order(rhyme: Path, tmp_path: Path) -> None:
    events = run(rhyme, tmp_path / "run")
    kinds = [type(event) for event in events if not isinstance(event, Note)]
    middle = [Stepped, Evaluated, Stepped, Sampled, Saved, Saved]
    assert kinds == [Started, *middle, *middle, Finished]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert all(path.is_file() for path in finished.files.values())
    assert (tmp_path / "run" / "config.yaml").is_file()


def test_the_log_has_a_line_for_each_told_step(rhyme: Path, tmp_path: Path) -> None:
    run(rhyme, tmp_path / "run")
    header, *lines = (tmp_path / "run" / "log.csv").read_text(encoding="utf-8").splitlines()
    columns = header.split(",")
    assert columns[:5] == ["step", "tokens", "seconds", "train_loss", "val_loss"]
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines]
    assert [(row["step"], row["tokens"], bool(row["val_loss"])) for row in rows] == [
        ("5", "640", False), ("10", "1280", True), ("15", "1920", False), ("20", "2560", True)
    ]  # fmt: skip


def progress(losses: Sequence[tuple[float, float]]) -> Progress:
    told = Progress()
    for train_loss, val_loss in losses:
        told.step += 10
        told.add_batch_loss(train_loss)
        told.add_evaluation(val_loss)
    return told


def test_overfitting_is_said_when_it_is_so_and_not_before() -> None:
    assert progress([(2.0, 2.1), (1.5, 1.9), (1.2, 2.0), (1.0, 2.2)]).overfitting_since() == 20
    assert (
        progress([(2.0, 2.1), (1.5, 1.9), (1.2, 2.0)]).overfitting_since() is None
    )  # one bad evaluation may be chance
    assert progress([(2.0, 2.1), (1.5, 1.9), (1.6, 2.0), (1.7, 2.2)]).overfitting_since() is None  # that is divergence
    assert progress([(2.0, 2.1), (1.5, 1.9), (1.2, 1.8)]).overfitting_since() is None


def test_a_failing_compiler_is_announced_and_the_run_is_the_eager_one(
    rhyme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_graph: object, _inputs: object) -> None:
        raise OSError("no compiler on this machine")

    eager = run(rhyme, tmp_path / "eager", dropout=0.1)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    fallen = run(rhyme, tmp_path / "fallen", dropout=0.1, compile="on")
    assert [event.text for event in fallen if isinstance(event, Note) and "compiling failed" in event.text]
    assert [e.loss for e in fallen if isinstance(e, Stepped)] == [e.loss for e in eager if isinstance(e, Stepped)]
    assert "compile: off" in info_of(tmp_path / "fallen")


def info_of(folder: Path) -> str:
    return f"compile: {load_checkpoint(folder / 'last.safetensors').settings['compile']}"


def test_a_model_that_is_too_large_for_its_text_is_told_off(tmp_path: Path) -> None:
    text = tmp_path / "noise.txt"
    text.write_text("".join(chr(97 + n % 26) for n in np.random.default_rng(1).integers(0, 26, 900)), encoding="utf-8")
    events = run(text, tmp_path / "run", max_steps=120, learning_rate=0.02, d_model=48)
    assert [event.text for event in events if isinstance(event, Note) and "overfitting since step" in event.text]


def test_a_taken_folder_is_refused_and_left_as_it_was(rhyme: Path, tmp_path: Path) -> None:
    run(rhyme, tmp_path / "run")
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"--resume .* --overwrite"):
        run(rhyme, tmp_path / "run")
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(RunError, match="no run folder"):
        run(rhyme, tmp_path / "mine")


def test_overwriting_removes_the_old_run_and_nothing_else(rhyme: Path, tmp_path: Path) -> None:
    run(rhyme, tmp_path / "run", max_steps=30)
    (tmp_path / "run" / "notes.txt").write_text("mine", encoding="utf-8")
    settings = resolve(flags=SMALL | {"data": str(rhyme), "out": str(tmp_path / "run")})
    list(train(settings, overwrite=True))
    assert (tmp_path / "run" / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "run" / "log.csv").read_text(encoding="utf-8").splitlines()[-1].startswith("20,")


def test_the_same_seed_gives_the_same_run_and_another_seed_another(rhyme: Path, tmp_path: Path) -> None:
    def losses(name: str, seed: int) -> list[float]:
        return [e.loss for e in run(rhyme, tmp_path / name, seed=seed, dropout=0.1) if isinstance(e, Stepped)]

    assert losses("a", 1) == losses("b", 1) != losses("c", 2)


def test_published_copies_are_what_the_run_holds(rhyme: Path, tmp_path: Path) -> None:
    places = [str(tmp_path / "out" / "model.safetensors"), str(tmp_path / "logs" / "training.csv")]
    run(rhyme, tmp_path / "run", publish=places)
    assert Path(places[0]).read_bytes() == (tmp_path / "run" / "best.safetensors").read_bytes()
    assert Path(places[1]).read_bytes() == (tmp_path / "run" / "log.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"model\.onnx"):
        run(rhyme, tmp_path / "other", publish=["model.onnx"])
    assert not (tmp_path / "other").exists()


def test_windows_grow_when_the_rate_begins_to_fall() -> None:
    seen: list[tuple[int, ...]] = []

    def watched(ids_BT: torch.Tensor, targets_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(tuple(ids_BT.shape))
        texts.append((ids_BT.flatten().tolist(), targets_BT.flatten().tolist()))
        logits_BTV, loss = growing.model(ids_BT, targets_BT)
        return logits_BTV, loss

    texts: list[tuple[list[int], list[int]]] = []
    growing = trainer(first_seq_len=4, max_steps=10, decay_fraction=0.6)
    growing.forward = watched
    for step in range(10):
        growing.take_step(step)
        x, y = growing.batches.in_windows_of(seen[-1][1]).batch(step)
        assert texts[-1] == (x.ravel().tolist(), y.ravel().tolist())
    assert seen == [(64, 4)] * 5 + [(32, 8)] * 5
    rates = [learning_rate_share(step, growing.config) for step in range(10)]
    assert [rate == 1 for rate in rates] == [shape == (64, 4) for shape in seen]


def test_short_windows_give_their_own_gradient() -> None:
    short = trainer(MODEL, first_seq_len=4, grad_accum=2)
    plain = after_one_step(short)
    x, y = (torch.from_numpy(part) for part in short.batches.in_windows_of(4).batch(0))
    model = GPT(MODEL, seed=3)
    _, loss = model(x, y)
    loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(plain[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_steps_with_a_first_window_need_one() -> None:
    with pytest.raises(ConfigError, match="first_steps=5 is for first_seq_len, which is not set"):
        resolve(flags=SMALL | {"first_steps": 5})
    growing = trainer(first_seq_len=4, first_steps=2, max_steps=10)
    assert [window_length(step, growing.config) for step in range(4)] == [4, 4, 8, 8]


def test_windows_must_be_whole() -> None:
    with pytest.raises(
        ConfigError, match="seq_len=16 does not split into windows of first_seq_len=5; choose a divisor"
    ):
        resolve(flags=SMALL | {"first_seq_len": 5})
