"""The file list is the reading order: a file imports only from files above it, and stays small enough to read."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import glassgpt
from glassgpt.cli.main import VERBS

ROOT = Path(glassgpt.__path__[0])
ORDER = """
    errors jsonfile yamlfile wording config names shortcut settings disk files runs

    text.base text.chars text.split text.bytelevel text.bpe text.fast text.learn text.store

    data.templates data.world data.scenes data.mishaps data.plots data.grammar data.tales
    data.answer data.download data.reading data.source data.hub data.rows data.sources
    data.tokenfiles data.prepare data.export data.batches

    model.derivatives model.dropout model.lean model.layers model.rope model.cache model.attention model.init
    model.base model.bigram model.chain model.gpt model.build model.count model.product model.decoder
    model.graph

    device plainpickle tensorfile torchfile plausible checkpoint recovery

    sampling.filters sampling.reader sampling.generate sampling.price sampling.requests sampling.slots
    sampling.engine sampling.embeddings sampling.trace

    training.events training.mover training.adamw training.muon training.optim training.schedule training.hindsight
    training.parallel training.step training.evaluate training.metrics training.clock training.signals training.orphan
    training.publish training.chosen training.deadline training.trying training.planning training.compiling
    training.relaunch training.run training.setup training.noticing training.samplefile training.samples training.desk
    training.loop

    lab.ladder lab.baselines lab.exam lab.scores lab.evaluations lab.logs lab.story lab.panels lab.plot
    lab.picture lab.track lab.stopwatch lab.forms lab.bench lab.work lab.profile lab.space lab.search lab.plan
    lab.trials lab.storage lab.choosing lab.study lab.stopping lab.trial lab.sweep_plot lab.sweep
    lab.facts lab.following lab.page

    library glassgpt

    serve.limits serve.shapes serve.shelf serve.worker serve.desk serve.answers serve.metrics serve.guard
    serve.problems serve.site serve.glass serve.watch serve.story serve.api serve.server

    cli.terminal cli.chosen cli.flags cli.display cli.views
    cli.train cli.sample cli.eval cli.info cli.bigram cli.plot cli.profile cli.bench cli.data cli.tokenizer cli.sweep
    cli.inspect cli.serve cli.doctor cli.main cli.doors __main__
"""
READING_ORDER = ORDER.split()
EMPTY = {"text", "data", "model", "sampling", "training", "lab", "serve", "cli"}  # packages whose __init__ stays empty
LONGEST_FILE, LONGEST_FUNCTION = 230, 40


def files() -> dict[str, Path]:
    """Every file of the package under the name that the list has for it."""
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
    named = {name.removesuffix(".__init__"): path for name, path in found.items()}
    named["glassgpt"] = named.pop("__init__")
    return named


FILES = files()
WITH_CODE = [name for name in FILES if name not in EMPTY]


def imports_of(name: str) -> Iterator[str]:
    """What a file takes from this package: also inside functions, and for the type checker only."""
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "glassgpt":
                    yield _ours(alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are written out in full"
            assert node.module is not None
            if node.module.split(".")[0] == "glassgpt":
                for alias in node.names:
                    whole = _ours(f"{node.module}.{alias.name}")
                    yield whole if whole in FILES else _ours(node.module)


def _ours(module: str) -> str:
    return module.removeprefix("glassgpt.")


@pytest.mark.parametrize("name", WITH_CODE)
def test_a_file_imports_only_from_files_above_it(name: str) -> None:
    assert name in READING_ORDER, f"{FILES[name]} has no place in the reading order"
    above = READING_ORDER[: READING_ORDER.index(name)]
    uphill = sorted(set(imports_of(name)) - set(above))
    assert not uphill, f"{name} stands above what it imports: {uphill}"


def test_the_reading_order_names_each_file_once() -> None:
    assert len(READING_ORDER) == len(set(READING_ORDER))
    assert set(READING_ORDER) - set(FILES) == set(), "these are listed and do not exist"


@pytest.mark.parametrize("name", sorted(EMPTY))
def test_a_package_has_an_empty_init(name: str) -> None:
    assert FILES[name].read_text(encoding="utf-8").strip() == ""


@pytest.mark.parametrize("name", WITH_CODE)
def test_a_file_and_its_functions_fit_a_screen_or_few(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{name}.{node.name} has {length} lines"


@pytest.mark.parametrize("name", WITH_CODE)
def test_a_file_opens_with_its_idea(name: str) -> None:
    assert ast.get_docstring(ast.parse(FILES[name].read_text(encoding="utf-8"))), f"{name} has no docstring"


def modules_after(code: str) -> set[str]:
    """The top names in sys.modules of a new interpreter that has run the code."""
    script = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}}, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT.parent)},
    )
    return set(done.stderr.split())


HEAVY = {"torch", "numpy", "matplotlib", "rich", "tokenizers", "safetensors", "pydantic", "yaml"}


@pytest.mark.parametrize(
    "code",
    [
        "import glassgpt; print(glassgpt.__version__)",
        "from glassgpt.cli.main import main; main(['--help'])",
        "from glassgpt.cli.main import main; main(['--version'])",
    ],
)
def test_the_package_and_its_help_load_nothing_heavy(code: str) -> None:
    assert modules_after(code) & HEAVY == set()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_help_of_a_verb_does_not_load_torch(verb: str) -> None:
    assert "torch" not in modules_after(f"from glassgpt.cli.main import main; main(['{verb}', '--help'])")
