"""A process that dies, or a disk that fails, at any file operation costs at most what was not saved yet."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SEED, MOST_TRIALS = 1, 8  # of each scenario; the program tries all


@pytest.fixture(scope="module")
def crash_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        module: Any = importlib.import_module("crash_test")
        module.test_world = tmp_path_factory.mktemp("world")
        with importlib.import_module("accidents.disturbed").a_world(module.test_world):
            yield module
    for name in [name for name in sys.modules if name.partition(".")[0] in {"accidents", "crash_test", "common"}]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def made(crash_test: Any) -> dict[str, Any]:
    """Each scenario, once."""
    return {}


def scenario(crash_test: Any, made: dict[str, Any], name: str) -> Any:
    if name not in made:
        made[name] = getattr(sys.modules["accidents.disturbed_runs"], name)(crash_test.test_world)
    return made[name]


@pytest.mark.parametrize("name", ["Overwriting", "Training", "Resuming", "Recovering", "Preparing", "PreparingPairs"])
def test_whatever_operation_breaks_the_next_start_ends_with_the_same_bits(
    crash_test: Any, made: dict[str, Any], name: str, tmp_path: Path
) -> None:
    one = scenario(crash_test, made, name)
    every = crash_test.operations_of(one) * len(crash_test.WAYS)
    stride = max(1, every // MOST_TRIALS) | 1  # odd, so that the ways take turns
    known: dict[object, list[str]] = {}
    chosen = crash_test.points([one], stride=stride, seed=SEED)
    faults = {(point.at, point.way): crash_test.try_point(point, tmp_path / "home", known) for point in chosen}
    assert {where: what for where, what in faults.items() if what} == {}
    assert {way for _, way in faults} == set(crash_test.WAYS)


def test_a_writer_that_does_not_rename_is_found_out(
    crash_test: Any, made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_in_place(path: Path, chunks: Any, **_: Any) -> None:
        files.make_folders(path.parent)
        with files.disk.open(path, "wb") as file:
            for chunk in chunks:
                files.disk.write(file, chunk)

    from glassgpt import checkpoint, files

    one = scenario(crash_test, made, "Training")
    monkeypatch.setattr(checkpoint, "write_atomically", write_in_place)
    last = crash_test.operations_of(one)
    points = [crash_test.Point(one, at, "halfway") for at in range(last // 2, last, 12)]
    faults = [fault for point in points for fault in crash_test.try_point(point, tmp_path / "home", {})]
    assert any("is torn" in fault for fault in faults)


def test_a_forked_process_really_dies() -> None:
    """In a fresh process: this one has threads, of which a copy of it would have one."""
    import subprocess

    program = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "from accidents.broken_disk import *\n"
        "import tempfile, pathlib\n"
        "from glassgpt.files import drafts_in, write_text\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "with working_on(BrokenDisk(2, 'halfway', death=die)):\n"
        "    print(exit_code_of(lambda: write_text(folder / 'file', 'whole')))\n"
        "print([draft.read_text() for draft in drafts_in(folder)], (folder / 'file').exists())\n"
    )
    if not hasattr(__import__("os"), "fork"):
        pytest.skip("this system has no fork")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["137", "['wh'] False"]
