"""What every benchmark here shares: the machine in words, turns taken by us and the peer, a table, a line of JSON.

    rounds = take_turns({"glassgpt": ours, "peer": theirs}, rounds=5)     # each call gives its own figure
    results = [compare("one stream", rounds, "peer", unit="tokens/s", bar=2.0)]
    finish("generation", results, about=machine("transformers"))          # the table, and the line of JSON

A machine is never equally fast for two minutes, so the contenders take turns, and what counts is the median of the
ratios of neighbours in time, beside the smallest and the largest of them. `report.py` makes docs/performance.md of
the lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
US = "glassgpt"
Rounds = dict[str, list[float]]  # the figures of each contender, round by round


def options(doc: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """The parser that a benchmark adds its own options to; its docstring is the help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contender (default: %(default)s)")
    return parser


def machine(*packages: str, threads: int | None = None) -> dict[str, Any]:
    """What the figures were measured on: the processor, how much of it, the versions, the day. Never a name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": {"cpu": _processor(), "features": _features(), "system": platform.system()},
        "cores": cores,
        "threads": threads or int(os.environ.get("OMP_NUM_THREADS", "0")) or cores,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in (US, "torch", *packages)},
        "date": datetime.now(timezone.utc).date().isoformat(),
    }  # fmt: skip


def take_turns(contenders: Mapping[str, Callable[[], float]], *, rounds: int, warm: int = 0) -> Rounds:
    """Round after round each contender once; every call gives the figure that it measured (seconds, tokens/s).

    The order turns around from round to round, so that none always runs behind the same other. The first `warm`
    rounds are not counted.
    """
    figures: Rounds = {name: [] for name in contenders}
    for number in range(warm + rounds):
        names = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in names:
            figure = contenders[name]()
            if number >= warm:
                figures[name].append(figure)
    return figures


def seconds_of(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def compare(
    what: str, rounds: Mapping[str, Sequence[float]], peer: str, *, unit: str, us: str = US,
    more_is_better: bool = True, bar: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One row: the medians of both, and how many times better we are: the median and the range of paired ratios."""
    pairs = zip(rounds[us], rounds[peer], strict=True)
    ratios = [our / their if more_is_better else their / our for our, their in pairs]
    return {
        "what": what, "unit": unit, "us": us, "ours": statistics.median(rounds[us]), "peer": peer,
        "theirs": statistics.median(rounds[peer]), "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)], "rounds": len(ratios), "bar": bar,
    }  # fmt: skip


def alone(
    what: str, figures: Sequence[float], *, unit: str, us: str = US, more_is_better: bool = True,
    peer: str | None = None, published: float | None = None, bar: float | None = None, limit: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One row where no peer ran. Beside ours stands a figure that is quoted (`peer` says whose), or our own `limit`."""
    ours, theirs = statistics.median(figures), published if limit is None else limit
    ratio = None if theirs is None else (ours / theirs if more_is_better else theirs / ours)
    return {
        "what": what, "unit": unit, "us": us, "ours": ours, "peer": peer if limit is None else "wanted",
        "theirs": theirs, "ratio": ratio, "spread": None, "range": [min(figures), max(figures)],
        "rounds": len(figures), "bar": bar if limit is None else 1.0, "quoted": published is not None,
    }  # fmt: skip


def finish(name: str, results: Sequence[Mapping[str, Any]], *, about: Mapping[str, Any], **more: Any) -> None:
    """The table for people, and as the last line the same for programs. `method=` tells in words what was compared."""
    print(table(results))
    print(json.dumps({"benchmark": name, **about, **more, "results": list(results)}))


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Every row of `compare` and `alone` as one line."""
    rows = [("", "ours", "theirs", "ratio", "spread", "bar", ""), *map(cells, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row in words, for the terminal and for the page."""
    who = "" if row["theirs"] is None else f" {row['peer']}{', quoted' if row.get('quoted') else ''}"
    return (
        row["what"] + ("" if row["us"] == US else f" ({row['us']})"),
        f"{figure(row['ours'])} {row['unit']}".rstrip(),
        "" if row["theirs"] is None else figure(row["theirs"]) + who,
        f"{row['ratio']:.2f} x" if row["ratio"] else "",
        "{:.2f}-{:.2f} x".format(*row["spread"])
        if row["spread"]
        else "-".join(map(figure, dict.fromkeys(row["range"]))),
        f"{row['bar']:g} x" if row["bar"] else "",
        verdict(row),
    )


def verdict(row: Mapping[str, Any]) -> str:
    if not row["bar"] or not row["ratio"]:
        return ""
    return "reached" if row["ratio"] >= row["bar"] else "falls short"


def figure(value: float | None) -> str:
    """Four digits: `figure(12345.6) == "12,346"`, `figure(0.0123456) == "0.01235"`."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def run_python(*arguments: str | Path, cwd: str | Path | None = None, **environment: str) -> str:
    """What a Python process of its own printed; it finds the code beside this file, installed or not."""
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, check=False, capture_output=True, text=True, encoding="utf-8",
        env=os.environ | {"PYTHONPATH": paths} | environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))[:200]} failed:\n{done.stderr.strip()}")
    return done.stdout


def in_child(program: str, **task: Any) -> Any:
    """The answer of this same benchmark, started anew with `--task`: for peak memory, and where caches would tell.

    The program looks for `task_of(sys.argv)` first, and prints its answer as the last line, in JSON.
    """
    return json.loads(run_python(program, "--task", json.dumps(task)).splitlines()[-1])


def task_of(argv: Sequence[str]) -> dict[str, Any] | None:
    """What this process was started for by `in_child`; None where a person started it."""
    return json.loads(argv[2]) if len(argv) == 3 and argv[1] == "--task" else None


def nanogpt(checkout: str | Path) -> Any:
    """The `model.py` of a checkout of karpathy/nanoGPT, as a module."""
    import importlib.util

    path = Path(checkout) / "model.py"
    if not path.is_file():
        sys.exit(f"{checkout} is no checkout of nanoGPT: it holds no model.py")
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def _processor() -> str:
    """The model's name where the system tells it: `AMD EPYC`."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        done = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], check=False, capture_output=True, text=True)
        return done.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def _features() -> list[str]:
    """Those that decide how fast matrices are multiplied."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace").split() if cpuinfo.is_file() else []
    return [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
