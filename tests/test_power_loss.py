"""Whatever a power loss leaves can be read, and each single sync is needed for that."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OURS = {"accidents", "power_test", "crash_test", "common"}
SITES = (
    "make_folders: folder",
    "put_in_place: folder",
    "remove: folder",
    "sync_file: file log.csv",
    "sync_file: file samples.txt",
    "write_atomically: file",
)


@pytest.fixture(scope="module")
def power_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        module: Any = importlib.import_module("power_test")
        folder = tmp_path_factory.mktemp("world")
        with importlib.import_module("accidents.disturbed").a_world(folder):
            module.test_records = {kind.__name__: module.Record.of(kind(folder)) for kind in module.KINDS}
            yield module
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["Overwriting", "Training", "Resuming", "Preparing", "PreparingPairs"])
def test_whenever_the_power_goes_an_old_or_a_new_state_is_found(power_test: Any, name: str) -> None:
    record = power_test.test_records[name]
    verdict = power_test.judge(record, power_test.Judge(record))
    assert verdict.faults == []
    assert verdict.states > 1


def test_these_are_all_the_places_where_something_is_synced(power_test: Any) -> None:
    found = {site for record in power_test.test_records.values() for site in record.sites()}
    assert found == set(SITES)


@pytest.mark.parametrize("site", SITES)
def test_without_this_sync_something_is_lost(power_test: Any, site: str) -> None:
    records = [record for record in power_test.test_records.values() if site in record.sites()]
    verdicts = [power_test.judge(record, power_test.Judge(record), without=site, first=True) for record in records]
    assert any(verdict.faults for verdict in verdicts)


def test_states_are_told_apart_by_hand(power_test: Any, tmp_path: Path) -> None:
    """One file of two writes, renamed before it was synced: six contents, or still the old file."""
    home, Done = tmp_path / "home", power_test.Done
    home.mkdir()
    (home / "file").write_bytes(b"old")
    drive = power_test.Drive(home, home)
    draft = home.resolve() / ".file.1-00000000.tmp"
    for done in [Done("open", draft), Done("write", draft, content=b"ab"), Done("write", draft, content=b"cd")]:
        drive.do(done)
    assert list(drive.states()) == [{"file": b"old"}]
    drive.do(Done("rename", draft, new=home.resolve() / "file"))
    contents = {state["file"] for state in drive.states()}
    assert contents == {b"old", b"", b"a", b"ab", b"abc", b"abcd", bytes(4), b"ab\0\0", b"\0\0cd"}
    drive.do(Done("sync_folder", home.resolve()))
    assert b"old" not in {state["file"] for state in drive.states()}
