"""The programs of benchmarks/: their arithmetic, and the page that is written from what they report."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = ("time_to_loss", "minutes", "training_speed", "startup", "first_run", "report")


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("common")


@pytest.fixture
def report(common: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The writer of the page, with a page and results of its own."""
    module: Any = importlib.import_module("report")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(module, "PAGE", tmp_path / "performance.md")
    yield module
    for name in ("report", "common"):
        sys.modules.pop(name, None)


def line(common: Any, name: str, what: str) -> str:
    """What a benchmark prints last."""
    rows = [common.compare(what, {"glassgpt": [4.0, 6.0], "peer": [2.0, 2.0]}, "peer", unit="tokens/s", bar=3.0)]
    about = common.machine("no-such-package", threads=1)
    return json.dumps({"benchmark": name, **about, "method": "One beside the other.", "results": rows})


def test_contenders_take_turns_and_the_order_turns_around(common: Any) -> None:
    calls: list[str] = []

    def contender(name: str) -> Callable[[], float]:
        def turn() -> float:
            calls.append(name)
            return float(len(calls))

        return turn

    figures = common.take_turns({"a": contender("a"), "b": contender("b")}, rounds=2, warm=1)
    assert figures == {"a": [4.0, 5.0], "b": [3.0, 6.0]}
    assert calls == ["a", "b", "b", "a", "a", "b"]


@pytest.mark.parametrize(
    ("more_is_better", "ratio", "spread"), [(True, 2.0, [1.5, 4.0]), (False, 0.5, [0.25, 1 / 1.5])]
)
def test_a_ratio_is_that_of_neighbours_in_time_and_above_one_where_we_are_better(
    common: Any, more_is_better: bool, ratio: float, spread: list[float]
) -> None:
    figures = {"glassgpt": [3.0, 4.0, 20.0], "peer": [2.0, 2.0, 5.0]}
    row = common.compare("x", figures, "peer", unit="s", more_is_better=more_is_better)
    assert (row["ours"], row["theirs"], row["ratio"]) == (4.0, 2.0, ratio)
    assert row["spread"] == pytest.approx(spread)


def test_a_quoted_figure_and_a_limit_of_ours_are_told_as_what_they_are(common: Any) -> None:
    quoted = common.alone("x", [2.0, 3.0], unit="s", more_is_better=False, peer="nanoGPT", published=5.0, bar=3.0)
    assert common.cells(quoted)[2:] == ("5 nanoGPT, quoted", "2.00 x", "2-3", "3 x", "falls short")
    limited = common.alone("x", [2.0], unit="s", more_is_better=False, limit=4.0)
    assert common.cells(limited)[2:] == ("4 wanted", "2.00 x", "2", "1 x", "reached")


def test_the_machine_is_described_without_its_name(common: Any) -> None:
    import platform

    about = common.machine("torch", "no-such-package")
    assert about["versions"]["no-such-package"] is None
    assert about["versions"]["torch"]
    assert platform.node() == "" or platform.node() not in json.dumps(about)


def test_the_page_shows_every_report_and_a_new_one_leaves_the_others(common: Any, report: Any, tmp_path: Path) -> None:
    report.keep(report.reports_in(["a table\n", line(common, "startup", "waiting") + "\n"]))
    report.keep(report.reports_in([line(common, "training_speed", "old"), line(common, "training_speed", "new")]))
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "| waiting | 5 tokens/s | 2 peer | 2.50 x | 2.00-3.00 x | 3 x | falls short |" in page
    assert "| new |" in page
    assert "| old |" not in page
    assert page.index("How fast it trains") < page.index("How long one waits")
    assert "One beside the other." in page


def test_the_page_in_docs_is_the_one_that_the_results_give(common: Any) -> None:
    report = importlib.import_module("report")
    results = json.loads(report.RESULTS.read_text(encoding="utf-8"))
    assert report.PAGE.read_text(encoding="utf-8") == report.page(results)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_benchmark_says_what_it_measures(name: str) -> None:
    program = ROOT / "benchmarks" / f"{name}.py"
    command = [sys.executable, str(program), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "usage: " in done.stdout
