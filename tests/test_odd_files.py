"""Odd files: pipes, devices, links that lead in circles, names of all kinds, and files that do not keep still."""

from __future__ import annotations

import glob
import os
import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import refusal, text_of
from glassgpt.config import DataConfig
from glassgpt.data.prepare import prepare
from glassgpt.data.reading import text_files_in, text_files_matching
from glassgpt.data.sources import find_source

BOOK = "The owl flew over the sea, and the sea was calm. «Näin», said the owl.\n" * 60


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_sockets_devices_and_broken_links_are_refused_or_left_out_and_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    Path("a.txt").write_text(BOOK, encoding="utf-8")
    os.mkfifo("pipe.txt")
    Path("dangling.txt").symlink_to("nowhere")
    Path("loop.txt").symlink_to("loop.txt")
    Path("device.txt").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.txt")
    for name in ("pipe.txt", "device.txt", "socket.txt", "/dev/null"):
        assert "no file that can be read twice" in refusal(lambda name=name: find_source((name,)))  # type: ignore[misc]
    for name in ("dangling.txt", "loop.txt"):
        assert "is a link that leads nowhere" in refusal(lambda name=name: find_source((name,)))  # type: ignore[misc]
    for spec in (".", "*.txt", "**/*.txt"):
        assert [path.name for path in find_source((spec,)).files] == ["a.txt"]


def test_folders_that_hold_each_other_are_walked_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.txt").write_text("x")
    for name in ("again", "and again"):  # 2 ** 40 ways for whoever follows them
        (tmp_path / "below" / name).symlink_to(tmp_path, target_is_directory=True)
    for found in (text_files_in(tmp_path), text_files_matching(tmp_path / "**" / "*.txt")):
        assert found == (tmp_path / "below" / "a.txt",)


def test_patterns_find_what_glob_finds_where_there_are_no_links(tmp_path: Path) -> None:
    rng = random.Random(1)
    for _ in range(60):
        parts = rng.choices(["a", "b", ".hidden", "[x]", "deep"], k=rng.randint(0, 3))
        path = tmp_path.joinpath(*parts, rng.choice(["a.txt", "b.md", ".dot.txt", "c"]) + rng.choice(["", "x"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for pattern in (
        "**",
        "**/*",
        "**/*.txt",
        "a/**/*.txt",
        "*/**/b*",
        "**/a/**/*.md",
        "**/.hidden/*",
        "**/[ab]/*",
        "**/.*",
    ):
        slow = {Path(name) for name in glob.glob(str(tmp_path / pattern), recursive=True)}  # noqa: PTH207
        assert set(text_files_matching(tmp_path / pattern)) == {path for path in slow if path.is_file()}, pattern


NAMES = ["new\nline.txt", "emoji😀.txt", "-dash.txt", " blank .txt", "[x].txt", "a:b.txt", "n" * 250, "猫" * 80]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows few of these names")
@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"raw\xff.txt")], ids=ascii)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text(BOOK, encoding="utf-8")
    if name.isprintable() or "\n" in name:  # a name that is no UTF-8 cannot be written into a configuration
        found = prepare(DataConfig(data=(str(tmp_path / "in" / name),)), cache=tmp_path / "cache")
        assert text_of(found) == BOOK
    found = prepare(DataConfig(data=(str(tmp_path / "in" / "*"),)), cache=tmp_path / "cache")
    assert text_of(found) == BOOK


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    assert "cannot read" in refusal(lambda: find_source(("x" * 5000,)))
    assert "no file, folder or named text" in refusal(lambda: find_source(("a\0b",)))


@pytest.mark.parametrize("stage", ["reading", "encoding"])
@pytest.mark.parametrize("fate", ["shrinks", "grows", "vanishes", "becomes another"])
def test_a_file_that_does_not_keep_still_is_never_half_prepared(tmp_path: Path, stage: str, fate: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text(BOOK * 150, encoding="utf-8")
    fates: dict[str, Callable[[], object]] = {
        "shrinks": lambda: os.truncate(path, 1000),
        "grows": lambda: path.write_text(BOOK * 160, encoding="utf-8"),
        "vanishes": lambda: path.unlink(missing_ok=True),
        "becomes another": lambda: path.write_bytes(bytes(5000)),
    }

    def tell(what: str, _share: float) -> None:
        if what == stage and path.exists():
            fates[fate]()

    config = DataConfig(data=(str(path),))
    message = refusal(lambda: prepare(config, cache=tmp_path / "cache", progress=tell))
    assert any(word in message for word in ("changed while it was read", "No such file", "zero byte", "too short"))
    assert not list((tmp_path / "cache").rglob("meta.json"))
