"""Several processes train as one: real processes, started by torchrun or as torchrun starts them."""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import glassgpt
from glassgpt import device
from glassgpt.checkpoint import load_checkpoint
from glassgpt.config import TrainingConfig
from glassgpt.errors import ConfigError
from glassgpt.settings import resolve
from glassgpt.training.events import Event, Stepped
from glassgpt.training.loop import resume, train
from glassgpt.training.parallel import ALONE, Team, my_team
from glassgpt.training.setup import _for_all, new_run

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch cannot do it")

STEPS = 50
RUN: dict[str, Any] = {
    "d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 32, "seq_len": 32, "batch_size": 8, "dropout": 0.0,
    "threads": 1, "precision": "fp32", "device": "cpu", "optimizer": "adamw", "learning_rate": 1e-3,
    "max_steps": STEPS, "eval_every": 25, "save_every": 0, "sample_every": 0, "log_every": 1, "sample_prompt": "1",
}  # fmt: skip
COMMAND = "import sys; from glassgpt.cli.main import main; sys.exit(main(sys.argv[1:]))"
PATIENCE_S = 120


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("".join(f"{n} and {n * n}, " for n in range(900)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def alone(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process, which all others should equal."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    list(begin(text, folder))
    return folder


def begin(text: Path, out: Path, **choices: Any) -> Iterator[Event]:
    return train(resolve(flags=RUN | {"data": str(text), "out": str(out)} | choices))


def words(text: Path, out: Path, **choices: Any) -> list[str]:
    flags = (f"--{name.replace('_', '-')}={value}" for name, value in (RUN | choices).items())
    return ["train", str(text), "--out", str(out), *flags]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(glassgpt.__path__[0]).parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | more


class Pair:
    """Two processes as torchrun would start them, so that each can be heard alone; and ended as it ends them."""

    def __init__(self, arguments: Sequence[str], *, prelude: str = "", **for_the_second: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", f"{prelude}\n{COMMAND}", *arguments],
                env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **common, **(for_the_second if rank else {})),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            )
            for rank in range(2)
        ]  # fmt: skip

    def hear(self, beginning: str) -> None:
        """Wait for such a line of the first process."""
        assert self.processes[0].stdout is not None
        while not (line := self.processes[0].stdout.readline()).startswith(beginning):
            assert line, self.end()

    def end(self) -> list[tuple[int, str, str]]:
        """Of each its exit code, what it said, and its complaints."""
        heard = []
        for process in self.processes:
            out, err = process.communicate(timeout=PATIENCE_S)
            heard.append((process.returncode, out, err))
            if process.returncode:
                self.processes[1].terminate()  # when one has ended badly, torchrun ends the others
        return heard


def column(folder: Path, name: str) -> list[float]:
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def assert_same_curves(folder: Path, truth: Path, *, rel: float = 1e-4) -> None:
    assert len(column(folder, "train_loss")) == len(column(truth, "train_loss"))
    for name in ("train_loss", "val_loss"):
        assert column(folder, name) == pytest.approx(column(truth, name), rel=rel)


def test_torchrun_trains_the_run_of_one_process_and_one_voice_tells_it(text: Path, alone: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "glassgpt"]
    done = subprocess.run(
        [*launcher, *words(text, tmp_path / "run")], env=environment(), capture_output=True, text=True, check=False,
        timeout=PATIENCE_S, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_same_curves(tmp_path / "run", alone)
    for line in ("2 processes share each batch", f"done: {STEPS} steps", "at step 50 it writes"):
        assert done.stdout.count(line) == 1
    assert not re.search("warning|traceback", done.stderr, re.IGNORECASE), done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"best.safetensors", "samples.txt", "loss.png"}
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").settings["device"] == "cpu"


def test_a_signal_to_either_process_stops_both_and_one_process_can_go_on(
    text: Path, alone: Path, tmp_path: Path
) -> None:
    pair = Pair(words(text, tmp_path / "run", grad_accum=2))
    pair.hear("step      7")
    pair.processes[1].send_signal(signal.SIGTERM)
    (code, said, problems), (other_code, *other) = pair.end()
    assert (code, other_code) == (143, 143), problems
    assert other == ["", ""]
    assert f"glassgpt train --resume {tmp_path / 'run'}" in said
    stopped = load_checkpoint(tmp_path / "run" / "last.safetensors").step
    assert f"stopped at step {stopped};" in said
    assert 7 <= stopped < STEPS
    list(resume(tmp_path / "run", {}))
    assert_same_curves(tmp_path / "run", alone)


def test_two_processes_go_on_with_the_run_of_one_hold_the_same_weights_and_share_the_trouble_of_one(
    text: Path, tmp_path: Path
) -> None:
    choices: dict[str, Any] = {"optimizer": "muon", "dropout": 0.1, "grad_accum": 4, "max_steps": 24, "batch_size": 16}
    list(begin(text, tmp_path / "one", **choices))
    for event in begin(text, tmp_path / "two", **choices):
        if isinstance(event, Stepped) and event.step == 9:
            signal.raise_signal(signal.SIGTERM)
    prelude = """
import hashlib, os, torch
def look(module, args):
    if type(module).__name__ == "GPT":
        models[0:] = [module]
        if os.environ["RANK"] == "1" and module.training and len(args[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
def tell(code, leave=os._exit):
    weights = b"".join(p.detach().numpy().tobytes() for p in models[0].parameters())
    print("weights", hashlib.sha256(weights).hexdigest(), file=sys.stderr, flush=True)
    leave(code)
models = []
torch.nn.modules.module.register_module_forward_pre_hook(look)
os._exit = tell  # how a worker leaves
"""
    pair = Pair(["train", "--resume", str(tmp_path / "two"), "--grad-accum=1"], prelude=prelude)
    (code, said, tells), (other_code, heard, other_tells) = pair.end()
    assert (code, other_code, heard) == (0, 0, ""), (tells, other_tells)
    assert said.count("out of memory: from here on 4 windows at a time (grad_accum=2") == 1
    assert "grad_accum: 2  # out of memory at step 10\n" in (tmp_path / "two" / "config.yaml").read_text()
    # As many pieces of the batch as before, some of them side by side now: dropout draws the same masks for them.
    assert_same_curves(tmp_path / "two", tmp_path / "one", rel=1e-5)
    assert tells == other_tells
    assert tells.startswith("weights ")


@pytest.mark.slow
def test_a_mistake_in_all_processes_is_told_once(text: Path, alone: Path) -> None:
    before = (alone / "last.safetensors").read_bytes()
    (code, *said), (other_code, *other) = Pair(words(text, alone)).end()
    assert (code, other_code, other) == (2, 2, ["", ""])
    assert said[1].startswith(f"glassgpt: {alone} holds a run already")
    assert said[1].count("\n") == 1
    assert (alone / "last.safetensors").read_bytes() == before


def test_a_batch_that_does_not_split_is_refused_before_the_text_is_read(tmp_path: Path) -> None:
    settings = resolve(flags=RUN | {"data": str(tmp_path / "nothing.txt"), "batch_size": 9})
    with pytest.raises(ConfigError, match="batch_size=9 does not split evenly over 2 processes x grad_accum=1; make"):
        new_run(settings, Team(world_size=2), None)


@pytest.mark.slow
def test_a_mistake_of_the_second_process_alone_is_told_by_the_first(text: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    pair = Pair(words(text, tmp_path / "run"), GLASSGPT_CACHE=str(tmp_path / "file" / "cache"))
    (code, *said), (other_code, *other) = pair.end()
    assert (code, other_code, other) == (2, 2, ["", ""])
    assert said[1].startswith("glassgpt: in process 1: cannot prepare the text")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_stops_both_before_anything_moves(text: Path, tmp_path: Path) -> None:
    prelude = """
import os
from glassgpt.training.step import Trainer
real = Trainer._gradients
def gradients(trainer, step, micro):
    loss = real(trainer, step, micro)
    if step == 9 and os.environ["RANK"] == "1":
        next(trainer.model.parameters()).grad[0, 0] = float("nan")
    return loss
Trainer._gradients = gradients
"""
    pair = Pair(words(text, tmp_path / "run", save_every=9), prelude=prelude)
    (code, _, problem), (other_code, heard, silence) = pair.end()
    assert (code, other_code, heard, silence) == (2, 2, "", "")
    assert problem.startswith("glassgpt: step 10: loss=")
    assert "gradient norm=nan; nothing was changed by it" in problem
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").step == 9


@pytest.mark.slow
def test_who_is_killed_leaves_nobody_waiting(text: Path, tmp_path: Path) -> None:
    pair = Pair(words(text, tmp_path / "run", max_steps=100000))
    pair.hear("step      3")
    pair.processes[1].kill()
    (code, _, problems), _ = pair.end()
    assert code == 2
    assert "have lost each other" in problems
    assert "Traceback" not in problems


@given(st.integers(1, 9), st.lists(st.integers()))
def test_shares_are_everything_once(world_size: int, items: list[int]) -> None:
    shares = [list(Team(rank=rank, world_size=world_size).share(items)) for rank in range(world_size)]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_there_is_nothing_to_agree_on() -> None:
    assert (ALONE.largest(7), ALONE.total(1.5, 2), ALONE.as_leader_says("yes")) == (7, [1.5, 2], "yes")
    assert ALONE.leader_first(lambda: "done") == "done"
    assert ALONE.lay_flat([torch.ones(3)]) is None
    with pytest.raises(KeyError), ALONE.same_fate():
        raise KeyError("its own")


def test_who_we_are_is_told_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert my_team() is ALONE
    told = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "here"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert my_team() == Team(rank=3, world_size=4, local_rank=1, local_size=2)
    assert not my_team().leads
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert my_team() is ALONE


def test_each_process_has_an_accelerator_of_its_own_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    training = TrainingConfig(precision="fp32")
    for name in ("auto", "cuda"):
        machine = device.choose_machine(training, name, local_rank=1, local_size=2)
        assert machine.device == torch.device("cuda:1")
        assert machine.why.startswith("2 x CUDA (a card)")
    with pytest.raises(ConfigError, match="3 processes need as many accelerators, and this machine has 2"):
        device.choose_machine(training, "auto", local_rank=2, local_size=3)
    with pytest.raises(ConfigError, match="device=cuda:1 is one, and 2 processes need one each; choose cuda"):
        device.choose_machine(training, "cuda:1", local_rank=0, local_size=2)
    assert device.choose_machine(training, "cpu", local_rank=2, local_size=3).device.type == "cpu"


def test_the_accelerators_of_all_are_written_down_and_not_the_one_of_the_first(text: Path, tmp_path: Path) -> None:
    """What a resumed run finds in its configuration must suit another number of processes."""
    config = resolve(flags=RUN | {"data": str(text), "device": "cuda:0"}).config
    assert _for_all(config, Team(world_size=2)).device == "cuda"
    assert _for_all(config, ALONE).device == "cuda:0"
