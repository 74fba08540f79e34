"""`glassgpt train`: start a run, or go on with one, and show what happens.

The loop (`training/loop.py`) yields events; `display.py` knows how to show them. Here is what was
asked for on the one side, and the exit code on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt import settings
from glassgpt.cli.display import choose_display
from glassgpt.cli.flags import Parser, add_run_settings, unescape
from glassgpt.cli.terminal import announce
from glassgpt.errors import ConfigError
from glassgpt.runs import find_run

if TYPE_CHECKING:
    from glassgpt.training.events import Event

USAGE = "[DATA ...] [--preset NAME | --config FILE] [--out DIR] [--resume RUN] [--overwrite] [--SETTING VALUE ...]"
EXAMPLES = """\
examples:
  glassgpt train                                    a first model, of the built-in stories
  glassgpt train book.txt                           a model of your own text, into runs/book
  glassgpt train poems/ 'notes/*.md' --out runs/me  folders and patterns work too
  glassgpt train --preset mini_gpt --max-steps 400  a preset, and one setting over it
  glassgpt train --resume runs/book                 go on after Ctrl-C
  glassgpt train --resume runs/book --max-steps 2000  ... and longer than planned

{presets}
The names of other projects work too: --n_embd, --block_size, --max_iters, --lr and their kin.
"""
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    data = asked.pop("DATA")
    resume, overwrite = asked.pop("resume"), asked.pop("overwrite")
    preset, file = asked.pop("preset"), asked.pop("config")
    if data:
        asked["data"] = [*data, *asked.get("data", [])]
    if "sample_prompt" in asked:
        asked["sample_prompt"] = unescape(asked["sample_prompt"])
    if resume is not None:
        _refuse_beside_resume(preset=preset, config=file, overwrite=overwrite)
        return _show(_resume(find_run(resume or None), settings.canonical(asked, place="the command")))
    chosen = settings.resolve(preset=preset, file=file, flags=asked)
    if preset is None and file is None and {"data", "dataset", "input"} & asked.keys() and settings.presets():
        print(f"default settings; complete others by name, with --preset: {' '.join(settings.presets())}")
    return _show(_train(chosen, overwrite=overwrite))


def _parser() -> Parser:
    presets = "".join(f"  {name:18} {what}\n" for name, what in settings.presets().items())
    presets = f"presets:\n{presets}" if presets else ""
    parser = Parser("train", USAGE, "Train a model.", epilog=EXAMPLES.format(presets=presets))
    parser.add_argument("DATA", nargs="*", help="files, folders, patterns, or names from `glassgpt data list`")
    parser.add_argument("--preset", metavar="NAME", help="a complete configuration by name; flags go over it")
    parser.add_argument("--config", metavar="FILE", help="a configuration from a YAML file; flags go over it")
    parser.add_argument("--resume", metavar="RUN", nargs="?", const="", help="go on with a run (left out: the newest)")
    parser.add_argument("--overwrite", action="store_true", help="begin anew in a folder that holds a run")
    add_run_settings(parser)
    return parser


def _refuse_beside_resume(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise ConfigError(f"--resume goes on with a run as it is; leave --{name} out, or begin a new run")


def _train(chosen: settings.Settings, *, overwrite: bool) -> Iterator[Event]:
    from glassgpt.training.loop import train

    return train(chosen, overwrite=overwrite, say=announce())


def _resume(folder: Path, flags: dict[str, Any]) -> Iterator[Event]:
    from glassgpt.training.loop import resume

    return resume(folder, flags, say=announce())


def _show(events: Iterator[Event]) -> int:
    from glassgpt.lab.plot import with_picture
    from glassgpt.training.events import Stopped

    code = 0
    with choose_display() as display:
        for event in with_picture(events):
            display.show(event)
            if isinstance(event, Stopped):
                code = EXIT_CODES.get(event.signal, 130)
    return code
