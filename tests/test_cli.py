"""Every verb, typed as a newcomer types it."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import glassgpt
from conftest import TINY
from glassgpt.checkpoint import load_checkpoint
from glassgpt.cli.display import PlainDisplay, describe
from glassgpt.cli.main import VERBS, main
from glassgpt.cli.terminal import bytes_for_people
from glassgpt.training.events import Note, Stopped

TYPED = Callable[..., str]
SMALL = [f"--{name}={value}" for name, value in TINY.items()]
ENDLESS = ["--max-steps=1000000", "--log-every=1", "--compile=off", *SMALL]  # so long a run would try a compiler


@pytest.fixture
def typed(at_home: Path, capsys: pytest.CaptureFixture[str]) -> TYPED:
    """What a command prints on standard output; it must succeed."""

    def type_in(*words: str) -> str:
        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return type_in


def test_help_names_every_verb_with_examples(typed: TYPED) -> None:
    for words in (["--help"], ["-h"], ["help"], []):
        shown = typed(*words)
        assert all(f"\n  {verb} " in shown for verb in VERBS)
        assert "examples:" in shown


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "doctor"])
def test_the_help_of_each_verb_has_examples(verb: str, typed: TYPED) -> None:
    for words in ([verb, "--help"], ["help", verb]):
        shown = typed(*words)
        assert shown.startswith(f"usage: glassgpt {verb} ")
        assert f"\n  glassgpt {verb}" in shown.split("examples:")[1]


def test_version_is_that_of_the_package(typed: TYPED) -> None:
    assert typed("--version") == f"glassgpt {glassgpt.__version__}\n"


def test_training_tells_what_is_going_on_and_what_to_type_next(typed: TYPED, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    shown = typed("train", "book.txt", "--out", str(out), "--max-steps", "4", "--eval-every=2", *SMALL)
    assert "--preset NAME takes others" in shown
    assert re.search(r"text   book.txt: [\d,]+ tokens to learn from, [\d,]+ held out", shown)
    assert re.search(r"model  [\d,]+ parameters: 1 layer of 2 heads, width 16", shown)
    assert "floor" not in shown  # nobody knows it of a book
    assert re.search(r"step +2  val \d", shown)
    assert "at step 4 it writes:" in shown
    assert f"glassgpt sample {out}" in shown
    for name in ("config.yaml", "log.csv", "best.safetensors", "last.safetensors", "samples.txt", "loss.png"):
        assert (out / name).is_file()
        assert name == "config.yaml" or str(out / name) in shown


def test_a_run_without_a_name_goes_to_runs(home: Path) -> None:
    assert (home / "runs" / "book" / "best.safetensors").is_file()


def test_a_finished_run_is_resumed_only_for_longer(typed: TYPED, home: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(home / "runs" / "book", tmp_path / "copy")
    assert "is finished" in typed("train", "--resume", str(copy))
    longer = typed("train", "--resume", str(copy), "--max_iters", "14")  # nanoGPT's name
    assert "from step 12" in longer
    assert "done: 14 steps" in longer


def test_a_sample_alone_is_only_its_text(typed: TYPED) -> None:
    once = typed("sample", "--prompt", "The owl", "--max-new-tokens", "20")
    assert once.startswith("The owl")
    assert len(once) == len("The owl") + 20 + len("\n")
    assert typed("sample", "runs/book", "--prompt", "The owl", "--max-new-tokens", "20") == once
    assert typed("sample", "book", "--prompt=The owl", "--num_tokens=20") == once
    assert typed("sample", "--prompt", "The owl", "--max-new-tokens", "20", "--seed", "2") != once


def test_the_newest_run_is_named_beside_the_text(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--max-new-tokens", "3"]) == 0
    assert capsys.readouterr().err == f"the newest run: {Path('runs') / 'book'}\n"


def test_several_samples_have_headings_and_begin_like_one(typed: TYPED) -> None:
    shown = typed("sample", "--prompt", "The", "--num-samples", "3", "--max-new-tokens", "9")
    pieces = re.split(r"\n?--- sample \d of 3 ---\n", shown)
    assert len(pieces) == 4
    assert all(piece.startswith("The") for piece in pieces[1:])
    assert pieces[1] == typed("sample", "--prompt", "The", "--max-new-tokens", "9")


def test_prompts_come_from_files_and_from_standard_input_too(
    typed: TYPED, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = typed("sample", "--prompt", r"sea\nThe", "--max-new-tokens", "5")
    assert straight.startswith("sea\nThe")
    file = tmp_path / "prompt.txt"
    file.write_text("sea\nThe", encoding="utf-8")
    assert typed("sample", "--prompt-file", str(file), "--max-new-tokens", "5") == straight
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sea\nThe")))
    assert typed("sample", "--prompt", "-", "--max-new-tokens", "5") == straight


def test_a_sample_ends_at_its_stop_without_showing_it(typed: TYPED) -> None:
    whole = typed("sample", "--prompt", "The owl", "--max-new-tokens", "60", "--temperature", "0").rstrip("\n")
    stop = whole[20]
    short = typed("sample", "--prompt", "The owl", "--max-new-tokens", "60", "--temperature", "0", "--stop", stop)
    assert short == "The owl" + whole[7:].split(stop)[0] + "\n"


def test_unknown_characters_are_skipped_where_that_is_asked_for(typed: TYPED) -> None:
    shown = typed("sample", "--prompt", "owl 猫", "--unknown", "skip", "--max-new-tokens", "2")
    assert shown.startswith("owl 猫")


def test_eval_puts_the_simple_methods_beside_the_model(typed: TYPED) -> None:
    shown = typed("eval")
    for name in ("this model (step 12)", "order-5 n-grams", "xz, after the training text", "xz, alone"):
        assert re.search(rf"^{re.escape(name)} +\d+\.\d+ +\d+\.\d+ +\d+\.\d+$", shown, re.MULTILINE)
    assert "At each character it hesitates" in shown


def test_bits_per_byte_count_the_bytes_of_characters_of_several_bytes(typed: TYPED, tmp_path: Path) -> None:
    text = "«Näin», said the owl.\n" * 9
    file = tmp_path / "other.txt"
    file.write_text(text, encoding="utf-8")
    shown = typed("eval", "runs/book", "--data", str(file))
    row = re.search(r"^this model.*\) +([\d.]+) +([\d.]+)", shown, re.MULTILINE)
    assert row is not None
    nats, bits = map(float, row.groups())
    scored = text[1:]  # the first character is given
    assert bits == pytest.approx(nats / 0.6931472 * len(scored) / len(scored.encode()), abs=2e-4)
    assert len(scored.encode()) > len(scored)


def test_info_says_what_a_run_is(typed: TYPED, home: Path) -> None:
    shown = typed("info", "runs/book")
    assert "1 layer, 2 heads, width 16" in shown
    assert "its digest is right" in shown
    assert re.search(r"step +12 of 12", shown)
    parts = [int(count.replace(",", "")) for count in re.findall(r"^ {12} *([\d,]+)  \w", shown, re.MULTILINE)]
    total = re.search(r"parameters +([\d,]+)", shown)
    assert total is not None
    assert sum(parts) == int(total[1].replace(",", ""))
    assert typed("info", str(home / "runs" / "book" / "last.safetensors")).startswith("checkpoint  ")


def test_info_config_says_where_each_value_came_from(typed: TYPED) -> None:
    lines = {line.split()[0]: line.split()[1:] for line in typed("info", "--config").split("\n") if line.strip()}
    assert lines["d_model"] == ["16", "flag"]
    assert lines["beta2"] == ["0.95", "default"]


def test_plot_draws_into_the_run_or_where_it_is_told(typed: TYPED, tmp_path: Path) -> None:
    for picture in typed("plot", "runs/book", "runs/book/last.safetensors", "--out", str(tmp_path)).split():
        assert Path(picture).parent == tmp_path
        assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_data_list_names_what_train_understands(typed: TYPED) -> None:
    shown = typed("data", "list")
    assert all(name in shown for name in ("tales", "python", "tinyshakespeare"))


def test_data_shows_and_prepares_a_text(typed: TYPED) -> None:
    shown = typed("data", "show", "book.txt")
    assert "    The owl flew over the sea" in shown
    assert "T|h|e| |o|w|l" in shown
    prepared = typed("data", "prepare", "book.txt")
    folder = re.search(r"lies in +(.*)", prepared)
    assert folder is not None
    assert (Path(folder[1]) / "train.bin").is_file()


def test_a_tokenizer_is_trained_and_used(typed: TYPED, tmp_path: Path) -> None:
    file = tmp_path / "my.json"
    assert str(file) in typed("tokenizer", "train", "--data", "book.txt", "--out", str(file))
    ids = typed("tokenizer", "encode", "Näin, owl", "--tokenizer", str(file)).split()
    assert typed("tokenizer", "decode", *ids, "--tokenizer", str(file)) == "Näin, owl\n"
    assert typed("tokenizer", "encode", "Näin, owl", "--tokenizer", "runs/book").split() == ids
    assert typed("tokenizer", "show", "owl", "--tokenizer", str(file)).startswith("o|w|l\n3 tokens")


def test_doctor_says_what_will_be_chosen(typed: TYPED) -> None:
    shown = typed("doctor")
    for name in ("python", "packages", "cpu", "chosen", "cache", "disk"):
        assert re.search(rf"^{name} +\S", shown, re.MULTILINE)


def test_a_closed_pipe_is_no_accident(at_home: Path) -> None:
    writer = _start(at_home, "sample", "--max-new-tokens", "2000")
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.read(10)
    writer.stdout.close()
    assert "Traceback" not in (said := writer.stderr.read())
    assert "Broken" not in said
    writer.stderr.close()
    assert writer.wait(timeout=60) == 141


def test_a_training_that_nobody_reads_any_more_stops_and_keeps_what_it_learned(at_home: Path, tmp_path: Path) -> None:
    out = tmp_path / "unread"
    run = _start(at_home, "train", "book.txt", "--out", str(out), *ENDLESS)
    assert run.stdout is not None
    assert run.stderr is not None
    while not run.stdout.readline().startswith("step"):
        time.sleep(0.01)
    run.stdout.close()
    assert (run.stderr.read(), run.wait(timeout=60)) == ("", 141)
    run.stderr.close()
    assert load_checkpoint(out / "last.safetensors").step > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_how_to_go_on(at_home: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    out = tmp_path / "stopped"
    run = _start(at_home, "train", "book.txt", "--out", str(out), *ENDLESS)
    assert run.stdout is not None
    while "step" not in run.stdout.readline().split(" ")[0]:
        time.sleep(0.01)
    run.send_signal(number)
    said, problems = run.communicate(timeout=60)
    assert run.returncode == code
    assert "Traceback" not in problems
    assert f"glassgpt train --resume {out}" in said
    assert (out / "last.safetensors").is_file()


def _start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "glassgpt", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(glassgpt.__path__[0]).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_every_event_has_words(capsys: pytest.CaptureFixture[str]) -> None:
    PlainDisplay().show(Note(text="it is so"))
    assert capsys.readouterr().out == "it is so\n"
    stopped = describe(Stopped(step=7, folder=Path("runs/x"), signal="SIGINT"))
    assert stopped.endswith(f"glassgpt train --resume {Path('runs/x')}")


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (4_000_157, "4.0 MB")]
)
def test_sizes_are_written_for_people(count: int, shown: str) -> None:
    assert bytes_for_people(count) == shown
