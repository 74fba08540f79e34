"""When the data is not to be had: what is taken instead, how it is said, and what never falls back."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import glassgpt
from glassgpt import settings
from glassgpt.cli.main import main
from glassgpt.data.sources import find_source
from glassgpt.errors import DataError, DownloadError, UnknownCharacterError
from glassgpt.settings import Settings
from glassgpt.training.chosen import folder_of, settle

BLOCKED = "import sys; sys.modules['datasets'] = None; "  # as if it were not installed
TINY: dict[str, Any] = {"n_layers": 1, "d_model": 16, "n_heads": 2, "seq_len": 16, "max_seq_len": 16, "batch_size": 4,
                        "max_steps": 2, "device": "cpu", "threads": 1, "eval_batches": 1, "compile": "off"}  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens where the texts would come from; the test runs in a folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("GLASSGPT_MIRROR", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("GLASSGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def chosen(**flags: Any) -> Settings:
    whole = settings.resolve(flags=TINY | flags)
    return Settings(whole.config, dict.fromkeys(flags, "flag"))


def test_the_next_is_taken_at_once_and_one_line_says_so() -> None:
    start = time.monotonic()
    source = find_source(("tinyshakespeare",), fallback=("tales:5KB",))
    assert time.monotonic() - start < 2
    assert source.specs == ("tales:5KB",)
    assert source.name == "tales"
    assert source.note.startswith("tinyshakespeare is not to be had (no connection to 127.0.0.1")
    assert source.note.endswith("TAKING tales:5KB INSTEAD; --no-fallback refuses that")
    assert "\n" not in source.note


def test_what_can_be_had_needs_no_note() -> None:
    source = find_source(("tales:5KB",), fallback=("tinyshakespeare",))
    assert (source.specs, source.note) == (("tales:5KB",), "")


def test_without_a_fallback_the_error_stands_and_tells_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with pytest.raises(DownloadError, match=r"cannot fetch .* \(4 attempts\); try again later .* tales"):
        find_source(("tinyshakespeare",))


def test_a_whole_chain_that_fails_is_the_first_failure() -> None:
    with pytest.raises(DataError, match=r'no file, folder or named text "input.txt"'):
        find_source(("input.txt",), fallback=("other.txt",))


def test_a_file_that_a_preset_hopes_for_may_be_missing(tmp_path: Path) -> None:
    source = find_source(("input.txt",), fallback=("tinyshakespeare", "tales:5KB"))
    assert source.specs == ("tales:5KB",)
    assert "input.txt is not to be had (no such file here), nor tinyshakespeare (no conn" in source.note
    (tmp_path / "input.txt").write_text("mine", encoding="utf-8")
    assert find_source(("input.txt",), fallback=("tales",)).specs == ("input.txt",)


def test_a_mistake_that_is_no_matter_of_the_network_stays_one(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "downloads").write_bytes(b"a file, where a folder is needed")
    for spec, message in [("empty.txt", "is empty"), ("tales:no", "is no size"), ("hf:", "names no data set")]:
        with pytest.raises(DataError, match=message):
            find_source((spec,), fallback=("tales",))
    with pytest.raises(DataError, match="cannot keep"):
        find_source(("tinyshakespeare",), fallback=("tales",), cache=tmp_path)


def test_a_run_takes_its_name_and_its_settings_from_what_it_really_reads() -> None:
    asked = chosen(data=["tinyshakespeare"], fallback=["tales:50KB"])
    settled, notes = settle(asked)
    assert settled.config.data.data == ("tales:50KB",)
    assert settled.config.data.fallback == ()
    assert settled.origins["data"] == "instead of tinyshakespeare"
    assert "TAKING tales:50KB INSTEAD" in notes[0]
    assert folder_of(settled.config) == folder_of(asked.config) == Path("runs/tales")


def test_a_run_that_fell_back_is_resumed_on_the_same_text() -> None:
    run = glassgpt.train("tinyshakespeare", fallback=["tales:50KB"], **TINY)
    written = (run.folder / "config.yaml").read_text(encoding="utf-8")
    assert run.folder == Path("runs/tales")
    assert "data: [tales:50KB]" in written.replace("'", "").replace('"', "")
    assert "instead of tinyshakespeare" in written
    assert glassgpt.resume(run.folder, max_steps=3).steps == 3


def test_a_presets_prompt_gives_way_with_its_text_and_a_flag_does_not() -> None:
    prompt = "ROMEO: «»"
    asked = chosen(data=["tinyshakespeare"], fallback=["tales:50KB"], sample_prompt=prompt)
    with pytest.raises(UnknownCharacterError):
        train(asked)
    run = train(Settings(asked.config, {"sample_prompt": "preset mini_gpt", "data": "preset mini_gpt"}))
    assert run.checkpoint.settings["sample_prompt"] == "\n"


def train(asked: Settings) -> Any:
    from glassgpt.training import loop

    for _ in loop.train(asked, overwrite=True):
        pass
    return glassgpt.load("runs/tales")


@pytest.mark.parametrize("flags", [["--fallback", "tales:20KB"], ["--no-fallback"]])
def test_the_command_line_says_it_on_the_side_or_refuses(
    flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    code = main(["data", "prepare", "tinyshakespeare", *flags])
    told = capsys.readouterr()
    if "--no-fallback" in flags:
        assert (code, told.out) == (2, "")
        assert "cannot fetch" in told.err
    else:
        assert code == 0
        assert told.err.count("TAKING") == 1
        assert "text       tales" in told.out


def hub_in_a_second_process(before: str) -> subprocess.CompletedProcess[str]:
    """The hub's address is read when its packages are imported."""
    code = (
        f"{before}import time; from glassgpt.data.sources import find_source; start = time.monotonic()\n"
        "source = find_source(('wikitext-103',), fallback=('tinyshakespeare', 'tales:5KB'))\n"
        "print(source.specs, source.note, sep='|'); print(time.monotonic() - start)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_an_offline_classroom_does_not_wait_for_the_hub() -> None:
    done = hub_in_a_second_process("import datasets; ")
    line, seconds = done.stdout.splitlines()
    assert line.startswith("('tales:5KB',)|wikitext-103 is not to be had (no connection to 127.0.0.1")
    assert ", nor tinyshakespeare" in line
    assert float(seconds) < 2
    assert done.stderr == ""


def test_without_the_package_the_next_is_taken_too() -> None:
    done = hub_in_a_second_process(BLOCKED)
    assert "wikitext-103 is not to be had (it needs: pip install 'glassgpt[hub]')" in done.stdout


def test_wikitext_that_lies_in_the_working_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "wt103_train.txt").write_text(" = Sea = \n\n deep \n", encoding="utf-8")
    alone = find_source(("wikitext-103",), fallback=("tales:5KB",))
    assert alone.specs == ("tales:5KB",)  # half of it is none of it
    (tmp_path / "wt103_valid.txt").write_text(" = Lamp = \n", encoding="utf-8")
    source = find_source(("wikitext-103",), fallback=("tales",), val_fraction=0.9)
    assert "".join(source.train_chunks()) == " = Sea = \n\n deep \n"
    assert "".join(source.val_chunks()) == " = Lamp = \n"
    assert source.name == "wikitext-103"
    assert source.note == "wikitext-103: wt103_train.txt and wt103_valid.txt of this folder are used"
