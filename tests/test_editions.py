"""Every command of the five editions, as their documents type it, in a clean copy of the project, offline.

What takes hours is shortened by GLASSGPT_MAX_STEPS, and by nothing else. Each kind of command has a process of its
own somewhere below; the others run in this one (see `clone.py`).
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from clone import Clone, lend_environment, make_clone

SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_clone(tmp_path / "glassgpt")


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A server of the real text, such as a classroom may have."""
    if not SHAKESPEARE.is_file():
        pytest.skip("the real text is not here")
    folder = tmp_path / "www" / "tinyshakespeare"
    folder.mkdir(parents=True)
    (folder / "input.txt").symlink_to(SHAKESPEARE)
    handler = functools.partial(_Quiet, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_mini_gpt_trains_publishes_and_continues_romeo(tmp_path: Path, mirror: str) -> None:
    clone = make_clone(tmp_path / "glassgpt", steps=1, mirror=mirror)
    clone.type("python train.py")
    typed = clone.type('python train.py generate checkpoints/best_model.pt "ROMEO:"', own_process=True)
    assert typed.out.startswith("ROMEO:")
    assert len(typed.out) > 100
    published = clone / "checkpoints/best_model.pt"
    published.write_bytes(b"an older copy")
    small = "python train.py --n-layers 1 --batch-size 8"  # for it is only to take the place
    second = clone.type(small, own_process=True)
    assert "replaced checkpoints/best_model.pt" in second.out + second.err
    assert len(published.read_bytes()) > 100_000
    assert len(list((clone / "runs").iterdir())) == 2, "each run keeps its own folder"


@pytest.mark.slow  # at its full size; a smaller one is typed as its document says, and mini_gpt is as large
def test_nano_gpt_prepares_trains_and_samples(tmp_path: Path, mirror: str) -> None:
    clone = make_clone(tmp_path / "glassgpt", steps=1, mirror=mirror)
    clone.type("python data.py")
    text = (clone / "data/input.txt").read_text(encoding="utf-8")
    train, val = (torch.load(clone / f"data/{name}.pt", weights_only=True) for name in ("train", "val"))
    vocab = torch.load(clone / "data/vocab.pt", weights_only=True)
    assert (len(text), len(train), len(val)) == (1_115_394, 1_003_854, 111_540)
    assert "".join(vocab["itos"][int(token)] for token in train[:100]) == text[:100]
    assert "".join(vocab["itos"][int(token)] for token in val[-100:]) == text[-100:]
    clone.type("python train.py --preset nano_gpt")
    typed = clone.type(
        r'python sample.py --checkpoint out/ckpt.pt --prompt "\n" --num_tokens 500 --temperature 1.0 --top_k 40'
    )
    assert 495 <= len(typed.out) <= 502, "a line break (not shown at the beginning) and 500 characters"
    assert len(clone.type("python sample.py").out) >= 495


def test_data_py_without_a_network_takes_the_built_in_stories(clone: Clone) -> None:
    typed = clone.type("python data.py")
    assert "tales" in typed.out + typed.err
    assert "Once upon a time" in (clone / "data/input.txt").read_text(encoding="utf-8")
    assert torch.load(clone / "data/train.pt", weights_only=True).dtype == torch.int64


def test_tinygpt_trains_a_tokenizer_then_a_model_and_looks_at_both(clone: Clone) -> None:
    clone.type("python -m tok --train data/tiny.txt --vocab-size 1000 --out tokenizer.json")
    ids = clone.type('python -m tok --tokenizer tokenizer.json --encode "Hello world!"', own_process=True).out.split()
    assert clone.type(f"python -m tok --tokenizer tokenizer.json --decode '{' '.join(ids)}'").out == "Hello world!\n"
    clone.type("python train.py --config configs/tiny.yaml")
    assert (clone / "logs/training.csv").read_text(encoding="utf-8").startswith("step,")
    prompt = "Once upon a time"
    typed = clone.type(
        f'python sample.py --model checkpoints/model.pt --tokenizer tokenizer.json --prompt "{prompt}" '
        "--temperature 0.8 --top-k 50 --top-p 0.9 --seed 42 --max-new-tokens 100"
    )
    assert typed.out.startswith(prompt)
    assert len(typed.out) > len(prompt) + 50
    clone.type("python plot.py --log logs/training.csv --output plots/")
    assert {path.suffix for path in (clone / "plots").iterdir()} == {".png"}
    bench = clone.type("python benchmark.py --model checkpoints/model.pt --tokenizer tokenizer.json")
    assert json.loads(bench.out.splitlines()[-1])


def test_tinygpt_with_its_own_settings_and_a_foreign_tokenizer(clone: Clone) -> None:
    clone.type(
        "python train.py --vocab-size 1000 --d-model 256 --n-layers 4 --n-heads 8 --batch-size 64 "
        "--learning-rate 0.0003 --max-steps 10000"
    )
    clone.type("python -m tok --train README.md --vocab-size 500 --out other.json")
    refused = clone.type("python sample.py --model checkpoints/model.pt --tokenizer other.json", code=2)
    assert "is not the tokenizer that the model was trained with" in refused.err
    assert refused.err.count("\n") == 1


def test_the_rotary_variant_of_tinygpt(clone: Clone) -> None:
    clone.type("python train.py --config configs/rope_config.yaml")
    typed = clone.type('python sample.py --model checkpoints/model.pt --prompt "The future of AI" --max-new-tokens 20')
    assert typed.out.startswith("The future of AI")


def test_tiny_gpt_names_its_accelerator_falls_back_and_leaves_its_checkpoint(clone: Clone) -> None:
    typed = clone.type("python train.py --preset tiny_gpt")
    said = typed.out + typed.err
    assert "CPU" in said or "CUDA" in said or "MPS" in said
    assert "wikitext-103" in said
    assert (clone / "tiny_gpt_checkpoint.pt").is_file()


def test_tiny_gpt_takes_the_wikipedia_files_that_lie_here(clone: Clone) -> None:
    for part in ("train", "valid"):
        lines = "".join(f" = Owls {number} = \n Owls are birds; \u732b are cats . \n" for number in range(400))
        (clone / f"wt103_{part}.txt").write_text(lines, encoding="utf-8")
    typed = clone.type("python train.py --preset tiny_gpt")
    assert "wt103_train.txt" in typed.out + typed.err
    assert "instead" not in typed.out + typed.err


def test_micro_gpt_reads_input_txt_where_there_is_one(clone: Clone) -> None:
    (clone / "input.txt").write_text("The owl and the pussycat went to sea. " * 200, encoding="utf-8")
    typed = clone.type("python train.py --preset micro_gpt")
    assert "input" in typed.out
    script = (
        "import glassgpt, torch; lm = glassgpt.load(); model, encode, decode = lm.model, lm.encode, lm.decode; "
        "context = torch.zeros((1, 1), dtype=torch.long); print(decode(model.generate(context, 500)[0].tolist()))"
    )
    assert len(clone.type(f'python -c "{script}"').out) >= 500


def test_bigram_py_climbs_to_the_gpt_and_leaves_its_names_to_play_with(clone: Clone) -> None:
    typed = clone.type(
        "python -i bigram.py", stdin="print('>' * 3, decode(model.generate(context, 500)[0].tolist()))\n"
    )
    assert "heads" in typed.out
    assert len(typed.out.split(">>> ")[-1]) >= 500


def test_a_sweep_runs_as_it_is_typed(clone: Clone) -> None:
    clone.type("python sweep.py --config configs/sweep.yaml")
    assert list(clone.folder.glob("runs/*/best.yaml"))


def test_benchmark_py_ends_with_a_line_for_programs(clone: Clone) -> None:
    assert json.loads(clone.type("python benchmark.py").out.splitlines()[-1])


COMPOSED = {
    "check": "test_reading_order.py", "lint": "ruff check", "typecheck": "mypy", "coverage": "--cov-report=html tests/",
}  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="make is not at home here")
def test_make_does_what_its_targets_say(clone: Clone) -> None:
    lend_environment(clone)
    clone.environment |= {"TESTS": "tests/test_rope.py", "WORKERS": "0"}
    clone.type("make install")
    clone.type("make train ARGS='tales:20KB'")  # README types it without words, and test_documents.py what README types
    clone.type("make sample")
    assert list((clone / "outputs").iterdir()), "make sample leaves its text there, too"
    clone.type("make eval")
    for target in ("format", "test"):
        clone.type(f"make {target}")
    # CI begins with `check`, which runs the two others, in a clone of its own; `coverage` is `test` with a flag.
    for target, program in COMPOSED.items():
        assert program in clone.type(f"make --dry-run {target}").out
    (clone / "build").mkdir()
    clone.type("make clean")
    assert not (clone / "build").exists()
    assert (clone / "runs").is_dir(), "what was trained stays"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="make is not at home here")
def test_make_coverage_leaves_its_pages(clone: Clone) -> None:
    lend_environment(clone)
    clone.environment |= {"TESTS": "tests/test_rope.py", "WORKERS": "0"}
    clone.type("make coverage")
    assert (clone / "htmlcov" / "index.html").is_file()


def test_pytest_runs_on_one_file_as_it_is_typed(clone: Clone) -> None:
    assert "passed" in clone.type("python -m pytest tests/test_rope.py -v").out


@pytest.mark.parametrize("door", ["train", "sample", "data", "tok", "benchmark", "plot", "sweep", "bigram"])
def test_a_door_without_its_packages_says_in_one_line_what_to_install(clone: Clone, door: str) -> None:
    typed = clone.type(f"{sys.executable} -S {door}.py --prompt x", code=2)  # -S: no site-packages
    assert typed.err.count("\n") == 1
    assert "pip install -r requirements.txt" in typed.err


@pytest.mark.parametrize("door", ["train", "sample", "data", "benchmark", "plot", "sweep", "bigram"])
def test_a_door_explains_itself(clone: Clone, door: str) -> None:
    assert "usage: glassgpt" in clone.type(f"python {door}.py --help", own_process=True).out
