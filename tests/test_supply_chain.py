"""What glassgpt stands on: every package pinned, each with its reason, its licence told, and none that nobody uses."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
GROUPS = ("dependencies", "hub", "sweep", "track", "serve", "export", "test", "dev")
UNNAMED = {"yaml": "pyyaml"}  # where a module is called otherwise than its package
FREE = re.compile(r"MIT|BSD|Apache|Python Software Foundation|PSF|0BSD|Zlib|CC0|BSL|CNRI|ISC|LLVM-exception")
TOLD = {"certifi"}  # what is no permissive licence is told in words above the table
CHECKED_HERE = sys.platform == "linux" and sys.version_info >= (3, 11)  # elsewhere packages bring others by markers

with pytest.MonkeyPatch.context() as patched:
    patched.syspath_prepend(str(ROOT / "docs"))
    licences: Any = importlib.import_module("licences")


def named_by_us() -> dict[str, str]:
    return {name: why for group in GROUPS for name, why in licences.declared(group).items() if name != "glassgpt"}


def is_pinned(name: str) -> bool:
    here = [pin for pin in licences.pins().get(name, []) if pin.marker is None or pin.marker.evaluate()]
    return len(here) == 1 and [part.operator for part in here[0].specifier] == ["=="]


def test_every_package_that_any_installation_brings_is_pinned_once_with_two_equal_signs() -> None:
    everything = {*named_by_us(), *licences.brought_by(named_by_us())}
    assert len(everything) > 90, "the walk through the metadata has lost its way"
    assert [name for name in sorted(everything) if not is_pinned(name)] == []


def test_what_is_not_pinned_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {name: pin for name, pin in licences.pins().items() if name != "urllib3"}
    without["idna"] = [Requirement("idna>=3")]
    monkeypatch.setattr(licences, "pins", lambda: without)
    assert [is_pinned(name) for name in ("urllib3", "idna", "requests")] == [False, False, True]


def test_no_pin_is_left_over_from_a_package_that_nobody_brings_any_more() -> None:
    everything = {*named_by_us(), *licences.brought_by(named_by_us())}
    here = {
        name for name, pins in licences.pins().items() if any(not pin.marker or pin.marker.evaluate() for pin in pins)
    }
    if CHECKED_HERE:
        assert here - everything == set()


def test_each_pin_is_one_that_pyproject_allows() -> None:
    asked_for = re.findall(r'"([\w.-]+>=[\d.]+)"', "\n".join(_lists()))
    assert len(asked_for) >= len(named_by_us()), "transformers stands there twice"
    for asked in map(Requirement, asked_for):
        for pin in licences.pins()[licences._plain(asked.name)]:
            version = next(iter(pin.specifier)).version
            assert asked.specifier.contains(version, prereleases=True), f"{asked} and {pin}"


def test_each_package_that_we_name_has_its_reason_beside_it() -> None:
    for line in _lists():
        for name in re.findall(r'"([\w-]+)(?:\[[\w,]+\])?(?:[><=~!]|")', line):
            assert re.search(r"# .{8,}", line), f"{name} has no reason: {line.strip()}"
    assert {"torch", "rich", "datasets", "pytest", "mypy"} <= named_by_us().keys()


def test_make_and_the_requirements_install_with_the_pins() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pip = re.search(r"^PIP := (.*)$", makefile, re.MULTILINE)
    assert pip is not None
    assert "-c constraints.txt" in pip[1]
    assert re.findall(r"^\t.*pip install.*$", makefile, re.MULTILINE) == [], "every installation goes through $(PIP)"
    assert len(re.findall(r"^\t@\$\(PIP\) -e ", makefile, re.MULTILINE)) == 3
    for file in ROOT.glob("requirements*.txt"):
        assert "-c constraints.txt" in file.read_text(encoding="utf-8"), file.name


def imported(file: Path) -> Iterator[str]:
    """The outermost names of what a file takes from elsewhere; `import_module("x")` counts too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(word.value).split(".")[0] for word in node.args if isinstance(word, ast.Constant))


def test_our_code_imports_what_we_name_and_nothing_that_only_others_bring() -> None:
    ours = {UNNAMED.get(name, name).replace("_", "-") for file in SOURCES for name in imported(file)}
    foreign = ours - {name.replace("_", "-") for name in sys.stdlib_module_names} - {"glassgpt"}
    named = {
        name
        for group in ("dependencies", "hub", "sweep", "track", "serve", "export")
        for name in licences.declared(group)
    }
    assert foreign - named == set()


def test_no_package_of_the_core_could_go() -> None:
    ours = {UNNAMED.get(name, name) for file in SOURCES for name in imported(file)}
    assert [name for name in licences.declared("dependencies") if name not in ours] == []


@pytest.mark.skipif(not CHECKED_HERE, reason="what packages bring differs by system and Python")
def test_the_page_of_licences_is_what_the_packages_say() -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "write it anew: python docs/licences.py"


def test_every_licence_is_permissive_or_the_page_says_otherwise() -> None:
    page = licences.PAGE.read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ") and "==" not in line]
    prose = page.split("\n## ")[0]
    for name, _, licence, why in rows[1:]:
        if name != "package":
            assert why
            parts = re.split(r" AND | OR |, ", licence)
            assert all(FREE.search(part) for part in parts) or (name in TOLD and f"`{name}`" in prose), (name, licence)


def test_licences_are_found_wherever_a_package_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def package(*lines: str) -> str:
        text = "Metadata-Version: 2.4\nName: odd\n" + "".join(f"{line}\n" for line in lines)
        monkeypatch.setattr(metadata, "metadata", lambda _: _message(text))
        return str(licences.licence_of("odd"))

    assert package("License-Expression: MIT AND  0BSD", "License: no") == "MIT AND 0BSD"
    assert package("Classifier: License :: OSI Approved :: MIT License", "License: see file") == "MIT License"
    assert package("License: Apache 2.0") == "Apache 2.0"
    assert package() == "unknown"


def _message(text: str) -> Any:
    import email

    return email.message_from_string(text)


def _lists() -> list[str]:
    """The lines of pyproject.toml that name packages."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text[text.index("\ndependencies = [") : text.index("[project.scripts]")].splitlines()
