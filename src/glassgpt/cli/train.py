"""`glassgpt train`: start a run, or go on with one, and show what happens.

The loop (`training/loop.py`) yields events; `display.py` knows how to show them. Here is what was
asked for on the one side, and the exit code on the other.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt import settings
from glassgpt.cli.chosen import aside
from glassgpt.cli.display import choose_display
from glassgpt.cli.flags import Parser, add_run_settings, unescape
from glassgpt.cli.terminal import announce
from glassgpt.errors import ConfigError, GlassgptError, is_out_of_memory
from glassgpt.runs import RunFolder, find_run
from glassgpt.shortcut import most_steps
from glassgpt.training.orphan import not_outliving_the_launcher
from glassgpt.training.parallel import my_team
from glassgpt.training.relaunch import is_restarted, run_of_this_launch, wishes
from glassgpt.training.signals import ask_to_stop, interrupt_only_once, outlive_the_first

if TYPE_CHECKING:
    from glassgpt.training.events import Event

USAGE = (
    "[DATA ...] [--preset NAME | --config FILE] [--out DIR] [--resume RUN] [--continue | --overwrite | --numbered] "
    "[--SETTING VALUE ...]"
)
EXAMPLES = """\
examples:
  glassgpt train                                    a first model, of the built-in stories
  glassgpt train book.txt                           a model of your own text, into runs/book
  glassgpt train poems/ 'notes/*.md' --out runs/me  folders and patterns work too
  glassgpt train book.txt --minutes 10              the best model that this machine can train in that time
  glassgpt train --preset mini_gpt --max-steps 400  a preset, and one setting over it
  glassgpt train --resume runs/book                 go on after Ctrl-C
  glassgpt train --resume runs/book --max-steps 2000  ... and longer than planned
  glassgpt train book.txt --continue                go on, or begin: the same command after whatever happened
  torchrun --standalone --nproc_per_node=2 -m glassgpt train book.txt
                                                    two processes, or GPUs, share each batch

{presets}
The names of other projects work too: --n_embd, --block_size, --max_iters, --lr and their kin.
"""
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}
CLOSED_PIPE = 141  # what a shell reports for a program that a closed pipe ended


def run(argv: Sequence[str]) -> int:
    """Several processes of one run, started by torchrun, come here all; the first alone is heard."""
    team = my_team()
    if team.alone:
        return _run(argv)
    interrupt_only_once()
    with not_outliving_the_launcher():
        return _run(argv) if team.leads else _follow(argv)


def _follow(argv: Sequence[str]) -> int:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        try:
            return _run(argv)
        except Exception as problem:
            if not isinstance(problem, GlassgptError | OSError) and not is_out_of_memory(problem):
                raise
            outlive_the_first()  # which has met it too, or was told
            return 2


def _run(argv: Sequence[str]) -> int:
    began = time.monotonic()
    asked = _parser().read(argv)
    data = asked.pop("DATA")
    resume, overwrite, numbered = asked.pop("resume"), asked.pop("overwrite"), asked.pop("numbered")
    preset, file, goes_on = asked.pop("preset"), asked.pop("config"), asked.pop("continue")
    if goes_on and (overwrite or numbered or resume is not None):
        raise ConfigError("--continue goes on where a run lies, and begins one where none does; give it alone")
    if overwrite and numbered:
        raise ConfigError("--overwrite takes the old run's folder, and --numbered leaves it alone; choose one")
    if data:
        asked["data"] = [*data, *asked.get("data", [])]
    if "sample_prompt" in asked:
        asked["sample_prompt"] = unescape(asked["sample_prompt"])
    if resume is not None:
        _refuse_beside_resume(preset=preset, config=file, overwrite=overwrite, numbered=numbered)
        folder = find_run(resume or None)
        return _show(_resume(folder, _shortened(folder, settings.canonical(asked, place="the command"))))
    chosen = settings.resolve(preset=preset, file=file, flags=asked)
    named = preset or file or chosen.config.training.minutes
    if not named and {"data", "dataset", "input"} & asked.keys() and settings.presets():
        print("default settings; --minutes M makes the most of so much time, --preset NAME takes others")
    if "GLASSGPT_MAX_STEPS" in chosen.origins.values():
        aside(f"GLASSGPT_MAX_STEPS is set: this run takes {chosen.config.training.max_steps} steps and no more")
    if goes_on or is_restarted():
        return _show(_train_or_go_on(chosen, asked, numbered=numbered, began=began))
    return _show(_train(chosen, overwrite=overwrite, numbered=numbered, began=began))


def _parser() -> Parser:
    presets = "".join(f"  {name:18} {what}\n" for name, what in settings.presets().items())
    presets = f"presets:\n{presets}" if presets else ""
    parser = Parser("train", USAGE, "Train a model.", epilog=EXAMPLES.format(presets=presets))
    parser.add_argument("DATA", nargs="*", help="files, folders, patterns, or names from `glassgpt data list`")
    parser.add_argument("--preset", metavar="NAME", help="a complete configuration by name; flags go over it")
    parser.add_argument("--config", metavar="FILE", help="a configuration from a YAML file; flags go over it")
    parser.add_argument("--resume", metavar="RUN", nargs="?", const="", help="go on with a run (left out: the newest)")
    parser.add_argument("--continue", action="store_true", help="go on with the run in --out, or begin it")
    parser.add_argument("--overwrite", action="store_true", help="begin anew in a folder that holds a run")
    parser.add_argument("--numbered", action="store_true", help="where the folder is taken, go to NAME-2, NAME-3, ...")
    add_run_settings(parser)
    return parser


def _refuse_beside_resume(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise ConfigError(f"--resume goes on with a run as it is; leave --{name} out, or begin a new run")


def _shortened(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """A run that is made longer under GLASSGPT_MAX_STEPS takes so many more."""
    most = most_steps()
    if most is None or not str(changes.get("max_steps")).isdecimal():
        return changes
    from glassgpt.recovery import find_state

    reached = find_state(folder).checkpoint.step
    return changes | {"max_steps": min(int(changes["max_steps"]), reached + most)}


def _train(chosen: settings.Settings, *, overwrite: bool, numbered: bool, began: float) -> Iterator[Event]:
    from glassgpt.lab.track import require_trackers
    from glassgpt.training.loop import train

    require_trackers(chosen.config)
    say = announce() if my_team().leads else None
    return train(chosen, overwrite=overwrite, numbered=numbered, say=say, began=began)


def _train_or_go_on(
    chosen: settings.Settings, asked: dict[str, Any], *, numbered: bool, began: float
) -> Iterator[Event]:
    """The run that such a command has begun before, or else a new one."""
    from glassgpt.training.chosen import folder_of

    folder: RunFolder | None = RunFolder(folder_of(chosen.config))
    changes = {} if is_restarted() else wishes(settings.canonical(asked, place="the command"))
    if is_restarted():
        folder = run_of_this_launch(folder_of(chosen.config))
    if folder is None:  # the launch before did not come as far as to have one
        return _train(chosen, overwrite=False, numbered=numbered, began=began)
    if folder.has_state():
        return _resume(folder.path, changes)
    chosen = settings.Settings(chosen.config.but(out=str(folder.path)), chosen.origins)
    return _train(chosen, overwrite=is_restarted(), numbered=False, began=began)


def _resume(folder: Path, flags: dict[str, Any]) -> Iterator[Event]:
    from glassgpt.training.loop import resume

    return resume(folder, flags, say=announce() if my_team().leads else None)


def _show(events: Iterator[Event]) -> int:
    from glassgpt.lab.picture import with_picture
    from glassgpt.lab.track import tracked
    from glassgpt.training.events import Stopped

    code = 0
    with choose_display() as display:
        for event in tracked(with_picture(events)) if my_team().leads else events:
            display.show(event)
            if display.deaf and not code:
                code = CLOSED_PIPE
                ask_to_stop()  # nobody would see the rest, and all that was learned is saved
            if isinstance(event, Stopped):
                code = code or EXIT_CODES.get(event.signal, 130)
    if not my_team().alone:
        _leave(code)
    return code


def _leave(code: int) -> None:
    """At once: taking the process down in order, torch aborts it now and then, over a thread of gloo's not yet joined.

    Everything is on the disk by now, and the connections are closed.
    """
    with suppress(OSError):  # of a pipe that nobody reads
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
