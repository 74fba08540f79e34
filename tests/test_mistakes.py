"""Every mistake of a user is one line that names the values and the way out; nothing is harmed by it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import glassgpt
from glassgpt.cli.main import _outside_trouble, main

Refused = Callable[..., str]


def everything_in(folder: Path) -> dict[str, str]:
    """Each file and the digest of its content, to see that a mistake changed nothing."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(".lock"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def refused(at_home: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """The one line that a wrong command gets; runs, texts and folders stay as they were."""

    def type_in(*words: str) -> str:
        capsys.readouterr()
        before = everything_in(at_home / "runs")
        names = sorted(path.name for path in at_home.iterdir())
        code = main(words)
        said = capsys.readouterr()
        assert code == 2, said.out
        assert said.err.startswith("glassgpt: ") or said.err.startswith("the newest run")
        line = said.err[said.err.index("glassgpt: ") :]
        assert line.count("\n") == 1, "one line, and no more"
        assert everything_in(at_home / "runs") == before
        assert sorted(path.name for path in at_home.iterdir()) == names
        return line

    return type_in


def wrong_text(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def test_an_empty_file(refused: Refused, tmp_path: Path) -> None:
    line = refused("train", wrong_text(tmp_path, "empty.txt", b""))
    assert "empty.txt" in line
    assert "empty" in line.replace("empty.txt", "")


def test_a_file_shorter_than_one_window(refused: Refused, tmp_path: Path) -> None:
    line = refused("train", wrong_text(tmp_path, "short.txt", b"Once upon a time."))
    assert "too short" in line
    assert "257" in line  # tokens that one window of the default needs


def test_bytes_that_are_no_utf8(refused: Refused, tmp_path: Path) -> None:
    line = refused("train", wrong_text(tmp_path, "latin.txt", b"a" * 500 + b"\xe9t\xe9" + b"b" * 500))
    assert "latin.txt" in line
    assert "offset 500" in line


def test_a_missing_file(refused: Refused) -> None:
    assert "did you mean book.txt?" in refused("train", "bock.txt")


def test_a_folder_without_text(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    assert "bare" in refused("train", str(tmp_path / "bare"))


def test_an_unknown_flag(refused: Refused) -> None:
    assert "unknown flag --max-stps; did you mean --max-steps?" in refused("train", "--max-stps", "5")


def test_an_unknown_verb(refused: Refused) -> None:
    assert "did you mean train?" in refused("trian")
    assert "unknown flag '--max-steps'" in refused("--max-steps", "5")


def test_heads_that_do_not_divide(refused: Refused) -> None:
    line = refused("train", "--d-model", "128", "--n-heads", "3")
    assert "d_model=128 does not split into n_heads=3; d_model=132 would" in line


def test_a_value_that_is_no_number(refused: Refused) -> None:
    assert "max_steps='many'" in refused("train", "--max-steps", "many")
    assert "--max-steps: expected one argument" in refused("train", "--max-steps")


def test_an_unknown_preset_and_a_missing_file_of_settings(refused: Refused) -> None:
    assert "unknown preset 'huge'; presets are: " in refused("train", "--preset", "huge")
    assert "nothing.yaml" in refused("train", "--config", "nothing.yaml")
    assert "choose one" in refused("train", "--preset", "a", "--config", "b")


def test_a_run_folder_that_is_not_one(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    for words in (["sample"], ["eval"], ["info"], ["plot"], ["train", "--resume"]):
        assert "is no run folder" in refused(*words, str(tmp_path / "photos"))
    assert "is no run folder" in refused("train", "book.txt", "--out", str(tmp_path / "photos"))
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_a_run_that_does_not_exist(refused: Refused) -> None:
    assert "there is no run or checkpoint runs" in refused("sample", "runs/bok")
    assert "runs/book" in refused("sample", "runs/bok").replace("\\", "/")


def test_no_run_at_all(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "train one first: glassgpt train" in refused("sample")


@pytest.mark.parametrize("kept", [0, 7, 500, -1])
def test_a_truncated_checkpoint(refused: Refused, tmp_path: Path, home: Path, kept: int) -> None:
    content = (home / "runs" / "book" / "best.safetensors").read_bytes()
    cut = wrong_text(tmp_path, "cut.safetensors", content[:kept])
    for verb in ("sample", "info", "eval"):
        assert "cut.safetensors" in refused(verb, cut)


def test_a_checkpoint_with_a_flipped_bit(refused: Refused, tmp_path: Path, home: Path) -> None:
    content = bytearray((home / "runs" / "book" / "best.safetensors").read_bytes())
    content[-5] ^= 1
    assert "does not match its digest" in refused("sample", wrong_text(tmp_path, "odd.safetensors", bytes(content)))


def test_a_file_that_is_no_checkpoint(refused: Refused) -> None:
    assert "book.txt" in refused("sample", "book.txt")


def test_a_prompt_with_unknown_characters(refused: Refused) -> None:
    line = refused("sample", "--prompt", "The 猫")
    assert "'猫' (U+732B) at position 4" in line
    assert "--unknown skip" in line


def test_a_prompt_file_that_is_missing_or_no_text(refused: Refused, tmp_path: Path) -> None:
    assert "nowhere.txt" in refused("sample", "--prompt-file", "nowhere.txt")
    assert "byte 1" in refused("sample", "--prompt-file", wrong_text(tmp_path, "p.txt", b"a\xff"))


def test_an_existing_run_without_resume_or_overwrite(refused: Refused) -> None:
    line = refused("train", "book.txt")
    assert "--resume" in line
    assert "--overwrite" in line


def test_a_resumed_run_cannot_become_another(refused: Refused) -> None:
    assert "d_model" in refused("train", "--resume", "runs/book", "--d-model", "32", "--max-steps", "20")
    assert "leave --preset out" in refused("train", "--resume", "runs/book", "--preset", "mini_gpt")


def test_impossible_sampling(refused: Refused) -> None:
    assert "temperature" in refused("sample", "--temperature", "-1")
    assert "top_p" in refused("sample", "--top-p", "1.5")
    assert "num_samples" in refused("sample", "--num-samples", "0")
    assert "choose one" in refused("sample", "--prompt", "a", "--prompt-file", "b")


def test_an_unknown_device(refused: Refused) -> None:
    assert "device='gpu'" in refused("sample", "--device", "gpu")
    assert "device='gpu'" in refused("train", "book.txt", "--out", "runs/new", "--device", "gpu", *WINDOW)


WINDOW = ("--seq-len", "16")


def test_mistakes_with_tokenizers_and_data(refused: Refused, tmp_path: Path) -> None:
    assert "did you mean encode?" in refused("tokenizer", "encod", "a")
    assert "did you mean prepare?" in refused("data", "prepar")
    assert "'x' is no id" in refused("tokenizer", "decode", "1", "x")
    assert "token 999 is outside the vocabulary" in refused("tokenizer", "decode", "999")
    assert "broken.json" in refused("tokenizer", "show", "--tokenizer", wrong_text(tmp_path, "broken.json", b"{"))
    there = wrong_text(tmp_path, "there.json", b"{}")
    assert "exists already" in refused("tokenizer", "train", "book.txt", "--out", there)
    assert "stories='many'" in refused("eval", "--stories", "many")


def test_what_the_machine_refuses_is_one_line_too() -> None:
    assert "--batch-size" in str(_outside_trouble(MemoryError()))
    assert "the disk is full: big.bin" in str(_outside_trouble(OSError(28, "No space left on device", "big.bin")))
    assert _outside_trouble(PermissionError(13, "Permission denied", "x")) == "x: Permission denied"
    assert "pip install -r requirements.txt" in str(_outside_trouble(ModuleNotFoundError("no", name="torch")))


def test_a_bug_of_our_own_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _outside_trouble(KeyError("oops")) is None
    assert _outside_trouble(ModuleNotFoundError("no", name="glassgpt.gone")) is None
    monkeypatch.setattr("glassgpt.cli.doctor.findings", lambda: int("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        main(["doctor"])


def test_ctrl_c_leaves_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glassgpt.cli.doctor.findings", interrupted)
    assert main(["doctor"]) == 130


@pytest.mark.parametrize("words", [["trian"], ["train", "nowhere.txt"], ["sample", "nowhere"]])
def test_a_real_process_leaves_with_code_2_and_one_line(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "glassgpt", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(glassgpt.__path__[0]).parent)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("glassgpt: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
