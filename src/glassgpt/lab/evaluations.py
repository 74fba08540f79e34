"""eval.json: what `glassgpt eval` found about a run, one entry for each step that was measured.

It lies in the run's folder, so that whoever shows the run can show it too (`story.py`), and is written only while
nobody trains there. How the numbers come about is told in `scores.py` and `exam.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from glassgpt.errors import RunError
from glassgpt.files import write_text
from glassgpt.jsonfile import parse, read_limited
from glassgpt.lab.exam import Marks
from glassgpt.runs import RunFolder

MOST_BYTES = 1 << 22  # an entry has less than a thousand
Nats = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=0, le=10**12)]


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rival(Entry):
    name: str
    nats_per_character: Nats


class Marked(Entry):
    """The exam's marks, under their names there."""

    stories: Whole
    spelled: Share | None
    parsed: Share | None
    heroes: Share | None
    sums: Share | None
    places: Share | None
    whole: Share | None
    novel: Share | None

    @classmethod
    def of(cls, marks: Marks) -> Marked:
        return cls(**asdict(marks))


class Evaluation(Entry):
    """What one step reached on the run's own held-out text."""

    step: Whole
    loss: Nats  # per token
    nats_per_character: Nats
    floor: Nats | None  # per character
    rivals: list[Rival]
    marks: Marked | None
    file: str


class _Content(Entry):
    evaluations: list[Evaluation]


def evaluations_of(folder: RunFolder) -> list[Evaluation]:
    """By their steps; none where nothing was measured yet."""
    path = folder.evaluations
    try:
        return _Content.model_validate(parse(read_limited(path, MOST_BYTES))).evaluations
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise RunError(f"{path} cannot be read: {problem.strerror}") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise RunError(f"{path} is no record of evaluations: {where}: {first['msg']}; remove it, and "
                       f"`glassgpt eval` writes it anew") from None  # fmt: skip
    except ValueError as problem:
        raise RunError(f"{path} is damaged: {problem}; remove it, and `glassgpt eval` writes it anew") from None


def remember(folder: RunFolder, found: Sequence[Evaluation]) -> str | None:
    """Each takes the place of an earlier one of its step. Where it cannot be, the line that says why."""
    try:
        with folder.lock():
            known = {one.step: one for one in [*evaluations_of(folder), *found]}
            whole = _Content(evaluations=[known[step] for step in sorted(known)])
            write_text(folder.evaluations, json.dumps(whole.model_dump(), indent=1, allow_nan=False) + "\n")
    except RunError as problem:
        return f"not kept in {folder.evaluations}: {problem}"
    except OSError as problem:
        return f"not kept in {folder.evaluations}: {problem.strerror or problem}"
    return None
