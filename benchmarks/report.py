"""docs/performance.md from what the benchmarks print: run them all, or some, or take lines that are there.

    python benchmarks/report.py --nanogpt PATH --text FILE         all that can run; half an hour and more
    python benchmarks/report.py startup                            this one anew; the other sections stay
    python benchmarks/report.py --lines FILE                       nothing runs: every line of JSON in the file is taken

The last line of each is kept in benchmarks/results.json, under its name, and the page is written from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common import ROOT, cells

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results.json", ROOT / "docs" / "performance.md"
TITLES = {  # in the order of the page; a program that is not there is left out
    "time_to_loss": "How soon a model is good",
    "minutes": "What fits into a few minutes",
    "training_speed": "How fast it trains, and in how much memory",
    "generation": "How fast it writes",
    "serving": "How fast it serves many",
    "tokenizing": "How fast text becomes ids",
    "preparation": "How a large text is prepared",
    "startup": "How long one waits for the start",
    "first_run": "The first run",
}
PASSED_ON = ("nanogpt", "text")
Report = Mapping[str, Any]

TOP = """\
# Performance

<!-- Written by benchmarks/report.py from benchmarks/results.json: change those, not this. -->

Every figure here was measured by a program in [benchmarks/](../benchmarks), us and the other on the same machine in
the same run, taking turns. The ratio is the median of the ratios of neighbouring turns, above 1 where we are better;
the spread is from the smallest of them to the largest, or, where nobody ran beside us, from our own smallest figure to
the largest. Figures *quoted* of others were not measured in that run; what is *wanted* is our own limit. What falls
short of its bar says so.

    make bench ARGS="--nanogpt PATH --text FILE"        measures all of it again, on your machine
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; left out, all: {', '.join(TITLES)}")
    parser.add_argument("--lines", metavar="FILE", help="take the reports in this file, instead of running anything")
    parser.add_argument("--nanogpt", metavar="PATH", help="a checkout of karpathy/nanoGPT, for those that compare")
    parser.add_argument("--text", metavar="FILE", help="the text to train on, for those that need one")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(TITLES):
        sys.exit(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    if asked.lines:
        keep(reports_in(Path(asked.lines).read_text(encoding="utf-8").splitlines()))
        return
    for name in asked.names or TITLES:
        if (HERE / f"{name}.py").is_file():
            keep(run(name, {option: getattr(asked, option) for option in PASSED_ON}))


def run(name: str, options: Mapping[str, str | None]) -> list[Report]:
    """What it reports; nothing where it failed, which leaves its section as it was."""
    program = [sys.executable, str(HERE / f"{name}.py")]
    known = subprocess.run([*program, "--help"], check=True, capture_output=True, text=True).stdout
    for option, value in options.items():
        if value and f"--{option} " in known:
            program += [f"--{option}", value]
    print(f"\n{name}", flush=True)
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if not line.startswith("{"):
                print(line, end="", flush=True)
    if process.returncode:
        print(f"{name} ended with {process.returncode}; its section stays as it was")
    return reports_in(lines) if process.returncode == 0 else []


def reports_in(lines: Iterable[str]) -> list[Report]:
    found = [json.loads(line) for line in lines if line.startswith('{"benchmark"')]
    return [report for report in found if report["benchmark"] in TITLES]


def keep(reports: Iterable[Report]) -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    results |= {report["benchmark"]: report for report in reports}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def page(results: Mapping[str, Report]) -> str:
    sections = [section(name, results[name]) for name in TITLES if name in results]
    return "\n".join([TOP, *sections])


def section(name: str, report: Report) -> str:
    """What was compared, the table, and what it ran on."""
    machine, versions = report["machine"], report["versions"]
    features = f" ({', '.join(machine['features'])})" if machine["features"] else ""
    packages = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
    threads = f"{report['threads']} thread{'s' if report['threads'] > 1 else ''}"
    return "\n".join([
        f"## {TITLES[name]}", "", report.get("method", "").strip(), "", *table(report["results"]), "",
        f"{machine['cpu']}{features}, {machine['system']}, {threads}; {packages}. {report['date']}, by",
        f"[benchmarks/{name}.py](../benchmarks/{name}.py).", "",
    ])  # fmt: skip


def table(rows: Iterable[Report]) -> list[str]:
    lines = ["| | ours | theirs | ratio | spread | bar | |", "|---|---:|---:|---:|---:|---:|---|"]
    return lines + [f"| {' | '.join(cells(row))} |" for row in rows]


if __name__ == "__main__":
    main()
