"""A YAML file as a table of names and values, read safely; a name that stands there twice is a mistake, no choice.

The file may be a stranger's. Of YAML's riches a configuration needs plain values only, so aliases (which make a
million lists of nine lines), tags and deep nesting are refused. What the names mean is told in `settings.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from glassgpt.errors import ConfigError
from glassgpt.jsonfile import read_limited

MOST_BYTES = 24_000  # all settings, with a line of comment for each, are a quarter of it; it is read slowly
MOST_DEPTH = 12
LONGEST_NAME = 100
LARGEST_INT = 1 << 63


def read_table(path: Path, *, kind: str, hint: str) -> dict[str, Any]:
    """The outermost table. `kind` and `hint` go into the messages: what it is, and what could be named instead."""
    try:
        content = _Once(read_limited(path, MOST_BYTES).decode("utf-8-sig")).get_single_data()
        _refuse_strange(content)
    except FileNotFoundError:
        raise ConfigError(f"there is no {kind} {path}; {hint}") from None
    except OSError as problem:
        raise ConfigError(f"{kind} {path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{kind} {path} cannot be read: {problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise ConfigError(f"{kind} {path} is not YAML: {' '.join(str(problem).split())[:300]}") from None
    if not isinstance(content or {}, dict):
        raise ConfigError(f"{kind} {path} should hold `name: value` lines, not a {type(content).__name__}")
    return {str(name): value for name, value in (content or {}).items()}


class _Once(yaml.SafeLoader):
    """The safe loader, but for names that stand twice in a table: it would take the last without a word."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} has an alias or an anchor; write the value there")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} has the tag {event.tag[:40]!r}; leave it out")
        if self.depth >= MOST_DEPTH:
            raise yaml.YAMLError(f"it is nested too deeply in line {event.start_mark.line + 1}")
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name, line = str(key.value)[:LONGEST_NAME], key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or len(key.value) > LONGEST_NAME:
                raise yaml.YAMLError(f"the name in line {line} is none: {name[:40]}...")
            if name in seen:
                raise yaml.YAMLError(f"{name} stands there twice, the second time in line {line}")
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def _refuse_strange(value: object) -> None:
    """What YAML reads as a date, or a number that fills pages, is no setting, and could not even be shown."""
    if isinstance(value, dict):
        for inner in (*value.keys(), *value.values()):
            _refuse_strange(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_strange(inner)
    elif isinstance(value, int) and abs(value) >= LARGEST_INT:
        raise ValueError("it holds a number that is too long")
    elif not isinstance(value, (str, int, float, type(None))):
        raise ValueError(f"it holds a {type(value).__name__} ({str(value)[:40]}); a text goes into quotes")
