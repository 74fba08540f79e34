"""Flags out of fields: what `config.py` says once becomes `--name`, its help and its default.

Values stay strings here; whether they make sense is checked by `settings`, in one place for
flags, files and presets alike. Names of other projects are flags too, understood but not listed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic.fields import FieldInfo

from glassgpt import names, settings
from glassgpt.config import SamplingConfig
from glassgpt.errors import ConfigError, did_you_mean

TRUTHS = {"true", "false", "yes", "no", "on", "off", "1", "0"}
METAVARS = {int: "N", float: "X", str: "TEXT", bool: "[true|false]", tuple: "TEXT"}
Action = TypeVar("Action")
LARGEST = 10**12  # nothing is counted that far, and what is much larger fits into no machine's numbers
ESCAPES = {r"\n": "\n", r"\t": "\t", r"\\": "\\"}


class Parser(argparse.ArgumentParser):
    """argparse that complains in one line, guesses what was meant, and takes `--a_b` for `--a-b`."""

    def __init__(self, verb: str, usage: str, description: str, *, epilog: str) -> None:
        super().__init__(
            prog=f"glassgpt {verb}",
            usage=f"glassgpt {verb} {usage}",  # fifty settings in brackets would help nobody
            description=description,
            epilog=epilog.rstrip(),
            allow_abbrev=False,
            formatter_class=_Help,
        )
        self.truths: set[str] = set()

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        if message.startswith("the following arguments are required: "):  # words that may be left out are among them
            first = next(action for action in self._get_positional_actions() if action.required)
            raise ConfigError(f"{first.dest} is missing: {first.help}; see {self.prog} --help")
        hint = " (a value that begins with a dash is written --flag=-value)" if message.endswith("one argument") else ""
        raise ConfigError(f"{message}{hint}; see {self.prog} --help")

    def read(self, argv: Sequence[str]) -> dict[str, Any]:
        """Everything given, by name; what was not given is absent, if its default is SUPPRESS."""
        flags, plain = _cut_at_two_dashes(argv)
        known, unknown = self.parse_known_intermixed_args(self._spelled_our_way(flags))
        for word in unknown:
            flag = word.split("=", 1)[0]
            kind = "flag" if flag.startswith("-") else "word"
            near = did_you_mean(flag, self._option_string_actions) or f"; see {self.prog} --help"
            raise ConfigError(f"unknown {kind} {flag}{near}")
        for word in plain:
            self._put(word, known)
        self._check_choices(vars(known))
        return vars(known)

    def _check_choices(self, asked: Mapping[str, Any]) -> None:
        """What a verb's own flag shows as {a,b,c} is one of these; the settings of a run are checked by `config.py`."""
        for action in self._actions:
            value, shown = asked.get(action.dest), str(action.metavar)
            if action.default is not argparse.SUPPRESS and shown.startswith("{") and value is not None:
                choices = shown.strip("{}").split(",")
                if value not in choices:
                    near = did_you_mean(value, choices)
                    raise ConfigError(f"{action.option_strings[0]} {value}: choose {', '.join(choices)}{near}")

    def _put(self, word: str, known: argparse.Namespace) -> None:
        """What stands behind `--` is no flag, whatever it looks like (argparse loses it when words and flags mix)."""
        for action in self._get_positional_actions():
            value = getattr(known, action.dest, None)
            if action.nargs == "*":
                setattr(known, action.dest, [*(value or []), word])
                return
            if value is None:
                setattr(known, action.dest, word)
                return
        raise ConfigError(f"unknown word {word!r}; see {self.prog} --help")

    def _spelled_our_way(self, argv: Sequence[str]) -> list[str]:
        """`--d_model=8` to `--d-model=8`; `--bias`, `--bias false` to `--bias=true`, `--bias=false`."""
        words: list[str] = []
        for word in argv:
            if words and words[-1] in self.truths and word.lower() in TRUTHS:
                words[-1] += f"={word}"
                continue
            flag, equals, value = word.partition("=")
            words.append(flag.replace("_", "-") + equals + value if flag.startswith("--") else word)
        return [f"{word}=true" if word in self.truths else word for word in words]

    def add_field(self, group: argparse._ArgumentGroup, name: str, info: FieldInfo) -> None:
        kind, choices = _kind_of(info)
        group.add_argument(
            _flag(name),
            dest=name,
            action="append" if kind is tuple else "store",
            default=argparse.SUPPRESS,
            metavar="{" + ",".join(choices) + "}" if choices else METAVARS[kind],
            help=f"{info.description}{_default_of(info)}".replace("%", "%%"),
        )
        if kind is tuple:
            self._add_hidden(f"--no-{_flag(name)[2:]}", name, action="store_const", const=[])
        if kind is bool:
            self.truths.add(_flag(name))
            self._add_hidden(f"--no-{_flag(name)[2:]}", name, action="store_const", const="false")

    def add_alias(self, name: str) -> None:
        if name.startswith("use_") or name in {"weight_tying"}:
            self.truths.add(_flag(name))
        self._add_hidden(_flag(name), name)

    def _add_hidden(self, flag: str, dest: str, **how: Any) -> None:
        self.add_argument(flag, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **how)


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **more: Any) -> None:
        super().__init__(prog, max_help_position=34, **more)


def _cut_at_two_dashes(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    words = list(argv)
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind_of(info: FieldInfo) -> tuple[type, tuple[str, ...]]:
    """`int | None` is (int, ()); `Literal["a", "b"]` is (str, ("a", "b")); `tuple[str, ...]` is (tuple, ())."""
    for annotation in (info.annotation, *get_args(info.annotation)):
        origin = get_origin(annotation) or annotation
        if origin is Literal:
            return str, get_args(annotation)
        inner = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else origin
        if inner in METAVARS:
            return inner, ()
    raise AssertionError(f"no flag is known for {info.annotation}")


def _default_of(info: FieldInfo) -> str:
    default = info.default
    if default is None or default == ():
        return ""
    if isinstance(default, tuple):
        default = " ".join(default)
    return f" (default: {str(default).lower() if isinstance(default, bool) else default!r})".replace("'", "")


def add_run_settings(parser: Parser) -> None:
    """Every setting of a run, grouped as the configuration is, and everybody's names for them.

    A verb that has its own meaning for a name (the minutes of a sweep) has said so before.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    taken = {action.dest for action in parser._actions}
    for piece, name, info in settings.fields():
        if name in taken:
            continue
        title = str(settings.PIECES[piece].__doc__) if piece in settings.PIECES else "the run"
        group = groups.setdefault(piece, parser.add_argument_group(title)) if piece not in groups else groups[piece]
        parser.add_field(group, name, info)
    sampling_only = set(SamplingConfig.model_fields)
    for alias, ours in names.ALIASES.items():
        if ours not in sampling_only:
            parser.add_alias(alias)
    for alias in (*names.TRANSLATIONS, *names.PAIRS):
        parser.add_alias(alias)


def add_sampling_settings(parser: Parser) -> None:
    group = parser.add_argument_group(str(SamplingConfig.__doc__))
    for name, info in SamplingConfig.model_fields.items():
        parser.add_field(group, name, info)
    for alias, ours in names.ALIASES.items():
        if ours in SamplingConfig.model_fields:
            parser.add_alias(alias)


def unescape(text: str) -> str:
    r"""A shell hands over `\n` as two characters: `unescape(r"ROMEO:\n")` ends in a line break."""
    return re.sub(r"\\[nt\\]", lambda match: ESCAPES[match.group()], text)


def only(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def whole(name: str, value: str, *, least: int, most: int = LARGEST) -> int:
    """The number that a flag of a verb's own was given; the settings of a run are checked by `config.py`."""
    number = int(value) if value.isdecimal() and len(value) <= len(str(LARGEST)) else -1
    if not least <= number <= most:
        allowed = f" from {least} to {most:,}" if value.isdecimal() and number != 0 else f", {least} or more"
        raise ConfigError(f"{name}={value!r}: it should be a whole number{allowed}")
    return number


def pick_action(name: str, actions: Mapping[str, Action]) -> Action:
    if name not in actions:
        raise ConfigError(f"unknown action {name!r}{did_you_mean(name, actions)}; actions are: {', '.join(actions)}")
    return actions[name]
