"""docs/reliability.md from what the programs about trust print: run them all, or some, or take lines that are there.

    python benchmarks/reliability.py                    all of them, two at a time where there are two cores
    python benchmarks/reliability.py kill_test          this one anew; the other figures stay
    python benchmarks/reliability.py --lines FILE       nothing runs: every line of JSON in the file is taken

The last line of each is kept in benchmarks/promises.json, and the page is written from there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from common import ROOT
from promises import bound

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "promises.json", ROOT / "docs" / "reliability.md"
PROGRAMS = {  # in the order of the page
    "crash_test": "A process dies, or the disk fails, at any operation on a file",
    "power_test": "The power goes",
    "kill_test": "A training is killed",
    "worker_test": "One of several processes is killed",
    "signal_test": "Somebody presses Ctrl-C",
    "damage_test": "Files are damaged",
    "hostile_test": "Files are hostile",
    "download_test": "Downloads go wrong",
    "mistakes_test": "People make mistakes",
    "serve_fuzz": "Strangers ask the server",
    "page_test": "Strangers write into the page",
}
NEEDS_ALL_CORES = {"worker_test"}  # runs by itself, after the others
Report = Mapping[str, Any]

TOP = """\
# Reliability

<!-- Written by benchmarks/reliability.py from benchmarks/promises.json: change those, not this. -->

What is promised when something goes wrong, and how often it was tried. Every line was measured by a program in
[benchmarks/](../benchmarks), with real processes, real signals and real files; accidents are drawn by dice with the
seed that stands there, so that they can be had again. Where nothing failed in N trials, the chance of a failure is
below 3/N with 95 % confidence: that is the last column. It holds for accidents of the kind that the program draws, and
for no other.

    make reliability                                    all of it again, on your machine; some thirty minutes
    make reliability ARGS="kill_test"                   one of them

Short forms of all of these are among the tests (`make test`).
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; left out, all: {', '.join(PROGRAMS)}")
    parser.add_argument("--lines", metavar="FILE", help="take the reports in this file, instead of running anything")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(PROGRAMS):
        sys.exit(f"there is no program {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}")
    if asked.lines:
        reports = reports_in(Path(asked.lines).read_text(encoding="utf-8").splitlines())
        keep(reports)
        return int(any(broken(report) for report in reports))
    names = asked.names or list(PROGRAMS)
    together = run_together([name for name in names if name not in NEEDS_ALL_CORES])
    reports = [*together, *(report for name in names if name in NEEDS_ALL_CORES for report in run(name))]
    keep(reports)
    return int(len({report["program"] for report in reports}) < len(names) or any(map(broken, reports)))


def run_together(names: Sequence[str]) -> list[Report]:
    """As many at a time as there are cores: each computes with one thread."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return [report for reports in pool.map(run, names) for report in reports]


def run(name: str) -> list[Report]:
    """What it reports; nothing where it broke off, which leaves its lines as they were."""
    program = [sys.executable, str(HERE / f"{name}.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=False, env=environment)
    print(f"\n{name}\n{done.stdout[-4000:]}{done.stderr[-2000:]}", flush=True)
    return reports_in(done.stdout.splitlines()[-1:])


def reports_in(lines: Iterable[str]) -> list[Report]:
    found = []
    for line in lines:
        try:
            report = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(report, dict) and report.get("program") in PROGRAMS:
            found.append(report)
    return found


def broken(report: Report) -> bool:
    return any(promise["failed"] for promise in report["promises"])


def keep(reports: Iterable[Report]) -> None:
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    kept |= {report["program"]: report for report in reports}
    kept = {name: kept[name] for name in PROGRAMS if name in kept}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(kept), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is written")


def page(kept: Mapping[str, Report]) -> str:
    return "\n".join([TOP, *(line for name, report in kept.items() for line in _section(name, report))])


def _section(name: str, report: Report) -> Iterable[str]:
    yield f"## {PROGRAMS[name]}\n"
    yield "| promise | kept | seed | below |\n|---|---:|---:|---:|"
    for promise in report["promises"]:
        limit = bound(promise["tried"], promise["failed"])
        mark = f" **(broken in {promise['failed']:,})**" if promise["failed"] else ""
        yield f"| {promise['promise']} | {promise['figure']}{mark} | {promise['seed']} | {limit} |"
    about, seconds = report["machine"], max(promise["seconds"] for promise in report["promises"])
    versions = ", ".join(f"{key} {value}" for key, value in about["versions"].items())
    where = f"{about['machine']['cpu']}, {versions}"
    yield f"\n`python benchmarks/{name}.py`: {seconds:,.0f} s on {about['date']}; {where}.\n"


if __name__ == "__main__":
    sys.exit(main())
