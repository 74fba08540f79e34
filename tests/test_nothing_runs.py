"""Nothing that a file says is ever run: the calls that could are not in our code, and this check would see them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), *ROOT.glob("*.py")])

PICKLERS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
RUNNERS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "runpy.run_module"}
YAML_READERS = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}
YAML_LOADERS = {"yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader", "yaml.CLoader", "yaml.CFullLoader"}
HIDDEN = {"yaml": YAML_READERS, "torch": {"load"}, "os": {"system", "popen"}}  # names that must stay recognisable
NUMPY_READERS = {"np.load", "numpy.load", "np.fromregex", "numpy.fromregex"}


def dangers(source: str) -> Iterator[str]:
    """What in a program could run what it reads: the line, and why."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        why = None
        if isinstance(node, ast.Import):
            why = next((f"import {name.name}" for name in node.names if name.name.split(".")[0] in PICKLERS), None)
        elif isinstance(node, ast.ImportFrom) and node.module:
            hidden = HIDDEN.get(node.module, set()) & {alias.name for alias in node.names}
            why = f"from {node.module}" if hidden or node.module.split(".")[0] in PICKLERS else None
        elif isinstance(node, ast.Call):
            why = _danger_of(node)
        elif isinstance(node, ast.Attribute) and _name(node) in YAML_LOADERS:
            why = _name(node)
        if why:
            yield f"line {line}: {why}"


def _danger_of(call: ast.Call) -> str | None:
    name = _name(call.func)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in RUNNERS:
        return f"{name}()"
    if name.startswith("yaml.") and name.removeprefix("yaml.") in YAML_READERS and not _is_safe(given.get("Loader")):
        return f"{name} without a safe loader"
    if name == "torch.load" and not _says(given.get("weights_only"), True):
        return "torch.load without weights_only=True"
    if name in NUMPY_READERS and "allow_pickle" in given and not _says(given["allow_pickle"], False):
        return "allow_pickle"
    if "shell" in given and not _says(given["shell"], False):
        return "shell"
    if name.endswith((".safe_globals", ".add_safe_globals")):
        return name
    return None


def _name(node: ast.expr) -> str:
    """`os.path.join` of an attribute; of a method on something computed only its last part."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{_name(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def _says(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_safe(loader: ast.expr | None) -> bool:
    """A safe loader of yaml's, or `_Once`, ours; an unsafe base of it would be found by its name."""
    return loader is not None and _name(loader) in {"yaml.SafeLoader", "yaml.CSafeLoader", "_Once"}


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_of_ours_can_run_what_it_reads(path: Path) -> None:
    assert not list(dangers(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import torch, dill as d", "eval('1')", "exec(text)",
        "__import__(name)", "yaml.load(text)", "yaml.load(text, Loader=yaml.Loader)", "yaml.unsafe_load(text)",
        "from yaml import full_load", "class Mine(yaml.Loader): ...", "torch.load(path)",
        "torch.load(path, weights_only=False)", "torch.load(path, weights_only=flag)", "from torch import load",
        "np.load(path, allow_pickle=True)", "subprocess.run(line, shell=True)", "Popen(line, shell=wanted)",
        "import os\nos.system(line)", "from os import system", "torch.serialization.add_safe_globals([Mine])",
        "runpy.run_path(path)",
    ],
)  # fmt: skip
def test_the_check_sees_what_it_is_for(source: str) -> None:
    assert list(dangers(source))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)", "yaml.safe_load(text)", "yaml.load(text, Loader=yaml.SafeLoader)",
        "model.eval()", "np.load(path)", "subprocess.run([program, argument])", "import pickletools", "re.compile(p)",
        "torch.compile(model)",
    ],
)  # fmt: skip
def test_the_check_lets_harmless_things_be(source: str) -> None:
    assert not list(dangers(source))
