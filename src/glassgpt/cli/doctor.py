"""`glassgpt doctor`: what this machine has, and what a run on it would choose. One line each."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import glassgpt
from glassgpt.cli.flags import Parser
from glassgpt.cli.terminal import bytes_for_people
from glassgpt.config import TrainingConfig
from glassgpt.files import cache_root
from glassgpt.wording import counted

CORE = ("torch", "numpy", "tiktoken", "rustbpe", "pydantic", "rich", "matplotlib")
EXTRAS = {  # extra: the packages that it brings
    "hub": ("datasets",),
    "sweep": ("optuna",),
    "track": ("tensorboard", "wandb"),
    "export": ("transformers",),
}


def run(argv: Sequence[str]) -> int:
    Parser("doctor", "", "What this machine has, and what will be chosen.", epilog="").read(argv)
    for name, fact in findings():
        print(f"{name:11} {fact}", flush=True)
    return 0


def findings() -> Iterator[tuple[str, str]]:
    yield "glassgpt", f"{glassgpt.__version__} in {Path(glassgpt.__path__[0])}"
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield (
        "system",
        f"{platform.system()} {platform.release()} on {platform.machine()}, {counted(os.cpu_count() or 1, 'core')}",
    )
    yield "packages", "  ".join(f"{package} {_version_of(package)}" for package in CORE)
    yield from _devices()
    yield from _choices()
    yield "cache", _cache()
    yield "disk", _disk(Path.cwd())
    for extra, packages in EXTRAS.items():
        there = all(importlib.util.find_spec(package) for package in packages)
        versions = "  ".join(f"{package} {_version_of(package)}" for package in packages)
        yield extra, versions if there else f"not here; pip install 'glassgpt[{extra}]'"


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16"
        yield f"cuda:{index}", f"{card.name}, {bytes_for_people(card.total_memory)}, {bf16}"
    if not torch.cuda.device_count():
        yield "cuda", "no device" if torch.version.cuda else "none (this torch is built without CUDA)"
    if platform.system() == "Darwin":
        yield "mps", "yes" if torch.backends.mps.is_available() else "no"


def _choices() -> Iterator[tuple[str, str]]:
    from glassgpt.device import choose_machine, cpu_has_bf16

    yield "cpu", f"{'bf16 in hardware' if cpu_has_bf16() else 'fp32 (no bf16 in hardware)'}"
    yield "chosen", f"{choose_machine(TrainingConfig(), 'auto').why} (for the default run)"


def _cache() -> str:
    folder = cache_root()
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    return f"{folder}, holds {bytes_for_people(held)} (GLASSGPT_CACHE chooses another; it may be deleted)"


def _disk(folder: Path) -> str:
    free = bytes_for_people(shutil.disk_usage(folder).free)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return f"{free} free in {folder}, and it can be written"
    except OSError as problem:
        return f"{free} free in {folder}, but it cannot be written: {problem.strerror}"


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "MISSING"
