"""`glassgpt sweep`: search for good settings, alone or together with other processes, and go on where it stopped.

The search is a stream of events (`lab/sweep.py`); here is what was asked for, and how each event reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt.cli.chosen import refuse_foreign_folder
from glassgpt.cli.flags import Parser, add_run_settings, unescape
from glassgpt.cli.terminal import announce, our_name
from glassgpt.wording import counted

if TYPE_CHECKING:
    from glassgpt.lab.space import Value
    from glassgpt.lab.sweep import Closed, During, Ended, Opened, SweepEvent
    from glassgpt.lab.trials import TrialRecord

USAGE = (
    "[--config FILE] [--trials N] [--minutes M] [--storage PATH_OR_URL] [--out DIR] [--report] [--SETTING VALUE ...]"
)
EXAMPLES = """\
examples:
  glassgpt sweep                                   configs/sweep.yaml: about twelve small trials
  glassgpt sweep --config my.yaml --minutes 30     your own search, for half an hour; the same command goes on
  glassgpt sweep --config my.yaml & glassgpt sweep --config my.yaml     two processes share the trials
  glassgpt sweep --out runs/sweep-tiny --trials 24 go on with that sweep, to twice as many
  glassgpt sweep --out runs/sweep-tiny --report    its tables and pictures again, without a trial

Settings given here stand over the file's base: --data book.txt, --max-steps 200. docs/sweeps.md tells all about it.
"""
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}
LONGEST_TABLE = 20  # trials, the best first; trials.csv has all


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    file, report = asked.pop("config"), asked.pop("report")
    budget = {name: asked.pop(name, None) for name in ("trials", "minutes", "storage", "out")}
    if "sample_prompt" in asked:
        asked["sample_prompt"] = unescape(asked["sample_prompt"])
    from glassgpt.lab.plan import FILE, default_file, read_plan
    from glassgpt.lab.sweep import go

    begun = Path(budget["out"] or "", FILE)
    if file is None:
        file = str(begun) if budget["out"] and begun.is_file() else str(default_file())
    plan = read_plan(Path(file), budget=budget, flags=asked)
    refuse_foreign_folder(plan.folder, mark=FILE)
    return _show(go(plan, report_only=report, say=announce()))


def _parser() -> Parser:
    parser = Parser("sweep", USAGE, "Search for good settings.", epilog=EXAMPLES)
    parser.add_argument(
        "--config", metavar="FILE", help="what to search (left out: that of --out, or configs/sweep.yaml)"
    )
    parser.add_argument("--trials", metavar="N", help="how many combinations are tried, over all processes and starts")
    parser.add_argument("--minutes", metavar="M", help="how long this start may take; what is left is done by the next")
    parser.add_argument(
        "--storage", metavar="PATH_OR_URL", help="where the trials are kept (default: OUT/sweep.journal)"
    )
    parser.add_argument("--report", action="store_true", help="only write the tables and pictures again")
    add_run_settings(parser)
    return parser


def _show(events: Iterator[SweepEvent]) -> int:
    from glassgpt.lab.sweep import Began, Closed, During, Ended, Opened, Waiting

    code = 0
    with _Line() as line:
        for event in events:
            if isinstance(event, Opened):
                line.say(_opening(event))
            elif isinstance(event, Began):
                line.say(f"trial {event.number:>3}  goes on: {in_words(event.params)}" if event.again else "")
            elif isinstance(event, During):
                line.rewrite(_progress(event))
            elif isinstance(event, Ended):
                line.say(_ending(event))
            elif isinstance(event, Waiting):
                line.say(f"nothing is left to begin; waiting for trial {' and '.join(map(str, event.numbers))} of "
                         f"other processes (Ctrl-C leaves them alone)")  # fmt: skip
            elif isinstance(event, Closed):
                line.say("\n".join(_closing(event)))
                code = EXIT_CODES.get(event.left or "", 0)
    return code


class _Line:
    """What stays is printed; on a terminal, a line at the foot says where the trial is."""

    def __enter__(self) -> _Line:
        self._live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def say(self, text: str) -> None:
        if text:
            self._clear()
            print(text, flush=True)

    def rewrite(self, text: str) -> None:
        if self._live and text:
            self._clear()
            print(text, end="", flush=True)

    def _clear(self) -> None:
        if self._live:
            print("\r\033[K", end="", flush=True)


def in_words(params: Mapping[str, Value]) -> str:
    from glassgpt.lab.trials import for_people

    return "  ".join(f"{name} {for_people(value)}" for name, value in params.items())


def _opening(event: Opened) -> str:
    plan = event.plan
    done = sum(record.is_done for record in event.records)
    config = plan.base.config
    trials, steps = counted(plan.budget.trials, "trial"), counted(config.training.max_steps, "step")
    lines = [
        *event.notes,
        f"sweep  {plan.folder}: {trials}" + (f", {done} of them done already" if done else ""),
        f"trial  at most {steps} on {' '.join(config.data.data)}; {event.measured}",
        *(f"search {name}: {_range(asked)}" for name, asked in plan.space.plain().items()),
    ]
    if event.possible < 1:
        lines.append(
            f"about {1 - event.possible:.0%} of the combinations are impossible and count as failed: {event.why_not}"
        )
    if plan.budget.minutes is not None:
        lines.append(f"it stops after {plan.budget.minutes:g} minutes, and the same command goes on")
    return "\n".join(lines)


def _range(asked: Mapping[str, Any]) -> str:
    from glassgpt.lab.trials import for_people

    if "choices" in asked:
        return ", ".join(for_people(value) for value in asked["choices"])
    more = " (logarithmic)" if asked.get("log") else f" in steps of {asked['step']:g}" if "step" in asked else ""
    return f"{asked['low']:g} to {asked['high']:g}{more}"


def _progress(event: During) -> str:
    from glassgpt.training.events import Evaluated, Stepped

    if isinstance(event.event, Stepped):
        return f"trial {event.number:>3}  step {event.event.step:,}  loss {event.event.loss:.3f}"
    if isinstance(event.event, Evaluated):
        return f"trial {event.number:>3}  step {event.event.step:,}  val {event.event.val_loss:.4f}"
    return ""


def _ending(event: Ended) -> str:
    record = event.record
    value = "failed" if record.value is None else f"{record.value:.4f}"
    mark = {"pruned": f" (stopped at step {record.steps:,})", "failed": f": {record.why}"}.get(record.state, "")
    best = f"best {event.best.value:.4f} (trial {event.best.number})" if event.best else "no best yet"
    return f"trial {record.number:>3}  {value:>7}  {best}  {in_words(record.params)}{mark}"


def _closing(event: Closed) -> Iterator[str]:
    from glassgpt.lab.trials import best

    plan, done = event.plan, [record for record in event.records if record.is_done]
    yield from _table(event)
    counts = {state: sum(record.state == state for record in done) for state in ("finished", "pruned", "failed")}
    words = {"finished": "finished", "pruned": "stopped early", "failed": "failed"}
    parts = ", ".join(f"{count} {words[state]}" for state, count in counts.items() if count)
    yield f"{len(done)} of {counted(plan.budget.trials, 'trial')} {'are' if plan.budget.trials > 1 else 'is'} done" + (
        f": {parts}" if parts else ""
    )
    if event.left is not None:
        trial = "" if event.left_number is None else f"; trial {event.left_number} is kept where it was"
        yield f"stopped ({event.left}){trial}. The same command goes on."
    running = [record for record in event.records if record.state == "running" and record.number != event.left_number]
    for record in running:
        yield f"trial {record.number} is being done by {record.where}, or waits for the next start"
    yield from (f"  {path}" for path in event.files.values())
    if winner := best(event.records):
        steps = 10 * plan.space.config(winner.params, plan.base.config).training.max_steps
        yield "next: the best for ten times as long"
        yield f"  {our_name()} train --config {event.files['best']} --max-steps {steps}"


def _table(event: Closed) -> Iterator[str]:
    """All trials, the best first, in columns."""
    from glassgpt.lab.trials import for_people, names

    records = sorted((record for record in event.records if record.is_done), key=_rank)
    if not records:
        return
    searched = names(records)
    rows = [["trial", event.unit, "state", *searched, "steps", "seconds"]]
    for record in records[:LONGEST_TABLE]:
        value = "-" if record.value is None else f"{record.value:.4f}"
        params = [for_people(record.params[name]) if name in record.params else "-" for name in searched]
        rows.append([str(record.number), value, record.state, *params, str(record.steps), f"{record.seconds:.1f}"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield ""
    for row in rows:
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
    if len(records) > LONGEST_TABLE:
        yield f"... and {len(records) - LONGEST_TABLE} more, in {event.files['trials']}"
    yield ""


def _rank(record: TrialRecord) -> tuple[int, float]:
    """Finished ones by their loss, then those that were stopped, then those without a value."""
    return ("finished", "pruned", "failed").index(record.state), record.value if record.value is not None else 0.0
