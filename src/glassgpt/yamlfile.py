"""A YAML file as a table of names and values, read safely; a name that stands there twice is a mistake, no choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from glassgpt.errors import ConfigError


def read_table(path: Path, *, kind: str, hint: str) -> dict[str, Any]:
    """The outermost table. `kind` and `hint` go into the messages: what it is, and what could be named instead."""
    try:
        content = _Once(path.read_text(encoding="utf-8-sig")).get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"there is no {kind} {path}; {hint}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{kind} {path} cannot be read: {problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise ConfigError(f"{kind} {path} is not YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(content or {}, dict):
        raise ConfigError(f"{kind} {path} should hold `name: value` lines, not a {type(content).__name__}")
    return {str(name): value for name, value in (content or {}).items()}


class _Once(yaml.SafeLoader):
    """The safe loader, but for names that stand twice in a table: it would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for name, line in [(str(key.value), key.start_mark.line + 1) for key, _ in node.value]:
            if name in seen:
                raise yaml.YAMLError(f"{name} stands there twice, the second time in line {line}")
            seen.add(name)
        return super().construct_mapping(node, deep=deep)
