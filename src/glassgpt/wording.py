"""How a refused value is told: `max_steps='many': it should be a whole number, 1 or more`; and how things are counted.

pydantic knows what a field takes, but its sentences are for programmers. Here ours are made of the same facts, the
field's type and its bounds. Who raises them is in `config.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from glassgpt.errors import did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

FAR = 10_000
LONGEST_VALUE = 60  # characters of a wrong value that are repeated
BETWEEN = {  # the bounds that a field may have, and the words for them
    ("ge",): ", {ge:,} or more",
    ("gt",): " above {gt:,}",
    ("ge", "le"): " from {ge:,} to {le:,}",
    ("ge", "lt"): ", {ge:,} or more and less than {lt:,}",
    ("gt", "le"): " above {gt:,} and at most {le:,}",
    ("gt", "lt"): " above {gt:,} and less than {lt:,}",
}


def counted(count: int, what: str) -> str:
    """`counted(1, "layer") == "1 layer"`, `counted(1200, "token") == "1,200 tokens"`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def refusal(problem: ValidationError, fields: Mapping[str, FieldInfo]) -> str:
    """The first of what pydantic found, in one line of ours."""
    first = problem.errors()[0]
    if first["type"] == "value_error":  # one of our own validators: its text is the message
        return str(first["ctx"]["error"])
    name = str(first["loc"][0]) if first["loc"] else "configuration"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {name}{did_you_mean(name, fields)}"
    line = refused(name, first["input"], fields[name], beyond=first["type"].startswith("less_than"))
    return line.replace("a number", "a finite number") if first["type"] == "finite_number" else line


def refused(name: str, value: Any, info: FieldInfo, *, beyond: bool = False) -> str:
    """`beyond`: the value is too large, so that the largest one must be told, however large that is."""
    shown = repr(value) if isinstance(value, str | float | list | dict | None) else str(value)
    near = did_you_mean(str(value), _choices(info))
    return f"{name}={shown[:LONGEST_VALUE]}: it should be {allowed(info, far=beyond)}{near}"


def truth_for_a_number(values: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> str | None:
    """YAML reads `yes` as true, which Python counts as 1; nobody means a model of one layer by it."""
    for name, value in values.items():
        if isinstance(value, bool) and name in fields and {int, float} & set(_parts(fields[name].annotation)):
            return refused(name, value, fields[name])
    return None


def allowed(info: FieldInfo, *, far: bool = True) -> str:
    """What a field takes: `"a whole number, 1 or more"`, `"true or false"`, `"'adamw' or 'muon'"`.

    Without `far`, an end that only the size of machines sets is left out.
    """
    parts = [*_parts(info.annotation), *info.metadata]
    if choices := _choices(info):
        return f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"
    if bool in parts:
        return "true or false"
    if str in parts:
        text = "a text that is not empty" if any(hasattr(part, "min_length") for part in parts) else "a text"
        return f"{text}, or a list of such" if tuple in parts else text
    bounds = {word: getattr(part, word) for word in ("ge", "gt", "le", "lt") for part in parts if hasattr(part, word)}
    near = {word: value for word, value in bounds.items() if far or value < FAR}
    words = BETWEEN[tuple(near)].format(**near) if near else ""
    return f"{'a whole number' if int in parts else 'a number'}{words}"


def _choices(info: FieldInfo) -> tuple[str, ...]:
    return next((get_args(part) for part in _parts(info.annotation) if get_origin(part) is Literal), ())


def _parts(annotation: Any) -> Iterator[Any]:
    """A type with all that is inside it: `Annotated[int, Field(ge=1)] | None` holds int and the bound too."""
    yield get_origin(annotation) if get_origin(annotation) is tuple else annotation
    if get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            if inner is not NoneType:
                yield from _parts(inner)
    yield from getattr(annotation, "metadata", ())
