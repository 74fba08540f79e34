"""`python docs/licences.py`: writes licences.md: each package that glassgpt needs, its licence, and why it is here.

Why is told by pyproject.toml, which version by constraints.txt, the licence by the installed package itself.
tests/test_supply_chain.py holds the page to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
DECLARED = re.compile(r'"(?P<name>[A-Za-z0-9._-]+)[^"]*"\]?,?\s*(?:\]\s*)?# (?P<why>.+)')
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}
EXTRAS = ("hub", "sweep", "track", "serve", "export")
OF_TORCH = ("nvidia-", "cuda-", "triton")  # which parts of CUDA come is torch's own choice, by system
HEAD = """\
# What it stands on

Every package that glassgpt needs, with the version that it is tested with (a second one is for Python 3.10), its
licence and the reason. The core is what `make install` brings; the second table is for those who ask for more, with
`pip install 'glassgpt[hub]'` and the like. glassgpt itself is under the MIT licence, and copies no code of these.

All of them may be used, changed and passed on freely, in a school or a company. One asks for more: `certifi` (a list
of certificates, which `tiktoken` brings) is under the Mozilla Public License 2.0, so whoever changes its own files and
passes them on must publish the changes. And one part is not open: on Linux, torch from PyPI brings NVIDIA's CUDA
libraries, under NVIDIA's own licence; torch for the processor alone
(`pip install torch --index-url https://download.pytorch.org/whl/cpu`) comes without them.

This page is written by `python docs/licences.py`.
"""


class Row(NamedTuple):
    name: str
    version: str
    licence: str
    why: str


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole of licences.md."""
    tables = [("The core", core_rows()), ("On request", extra_rows())]
    return HEAD + "".join(f"\n## {title}\n\n{_table(rows)}" for title, rows in tables)


def core_rows() -> list[Row]:
    """The packages that we named first, then those that they bring."""
    named, brought = declared("dependencies"), brought_by(declared("dependencies"))
    ours = [_row(name, why) for name, why in named.items()]
    return ours + [_row(name, f"brought by {', '.join(sorted(by))}") for name, by in sorted(brought.items())]


def extra_rows() -> list[Row]:
    return [_row(name, f"[{extra}] {why}") for extra in EXTRAS for name, why in declared(extra).items()]


def declared(group: str) -> dict[str, str]:
    """The packages of one list in pyproject.toml, each with the comment behind it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^{group} = \[(.*?)^(?=\S*$|\S+ = |\[)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"pyproject.toml has no list {group}"
    return {_plain(match["name"]): match["why"].strip() for match in DECLARED.finditer(found[1])}


def brought_by(named: Mapping[str, str]) -> dict[str, set[str]]:
    """What the named packages need, and what these need, and so on: each with those that ask for it."""
    brought: dict[str, set[str]] = {}
    waiting = [*named]
    while waiting:
        name = waiting.pop()
        for needed in needs(name):
            if needed not in named and not needed.startswith(OF_TORCH):
                if needed not in brought:
                    waiting.append(needed)
                brought.setdefault(needed, set()).add(name)
    return brought


def needs(name: str) -> Iterator[str]:
    """The packages that a package asks for, without its extras, on Linux."""
    for line in metadata.requires(name) or []:
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate(LINUX | {"extra": ""}):
            yield _plain(asked.name)


def pins() -> dict[str, list[Requirement]]:
    """constraints.txt: a package may stand there twice, for different versions of Python."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            asked = Requirement(line)
            found.setdefault(_plain(asked.name), []).append(asked)
    return found


def licence_of(name: str) -> str:
    """As its metadata says it: the expression, else the classifier, else the first line of the text."""
    about = metadata.metadata(name)
    for expression in about.get_all("License-Expression") or []:
        return " ".join(expression.split())
    classified = [line for line in about.get_all("Classifier") or [] if line.startswith("License :: OSI Approved :: ")]
    if classified:
        return ", ".join(line.rpartition(" :: ")[2] for line in classified)
    return next(iter(about.get_all("License") or []), "unknown").strip().splitlines()[0].strip()


def _row(name: str, why: str) -> Row:
    versions = [next(iter(pin.specifier)).version for pin in pins()[name]]
    return Row(name, " or ".join(versions), licence_of(name), why)


def _table(rows: list[Row]) -> str:
    lines = ["| package | version | licence | why |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _plain(name: str) -> str:
    return str(canonicalize_name(name))


if __name__ == "__main__":
    main()
