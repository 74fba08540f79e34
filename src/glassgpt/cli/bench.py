"""`glassgpt bench`: how fast this machine trains and writes; a table for people, and a line of JSON for programs."""

from __future__ import annotations

import json
import math
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import glassgpt
from glassgpt import settings
from glassgpt.cli.chosen import chosen_checkpoint, new_file, refuse_other_tokenizer
from glassgpt.cli.flags import Parser
from glassgpt.cli.profile import profiled
from glassgpt.cli.terminal import bytes_for_people
from glassgpt.errors import ConfigError
from glassgpt.files import write_text
from glassgpt.shortcut import most_steps
from glassgpt.wording import counted

if TYPE_CHECKING:
    from glassgpt.config import RunConfig
    from glassgpt.lab.bench import Subject, TrainingSpeed, WritingSpeed
    from glassgpt.lab.forms import Measured

USAGE = "[RUN | --preset NAME] [--profile] [--seconds S] [--device NAME] [--precision NAME] [--json FILE] ..."
EPILOG = """\
examples:
  glassgpt bench                              the default model with random weights, about a minute
  glassgpt bench runs/tales                   the model of a run, with its batch and context
  glassgpt bench --preset mini_gpt --seconds 10
  glassgpt bench --profile                    what a step is spent on, part by part, beside what it could be
  glassgpt bench --seconds 1 | tail -n 1      the line of JSON
"""
VOCAB_SIZE = 96  # of a model without a tokenizer: about the characters of an English text
WIDTH = 80  # characters, of a plain terminal
SHORTEST_S = 0.05  # for each part and each step that GLASSGPT_MAX_STEPS allows
COMPILING_S = 25  # how long the compiler may take at --seconds 3, in all


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    seconds = _seconds(asked["seconds"])
    file = None if asked["json"] is None else new_file("--json", asked["json"])
    if (most := most_steps()) is not None:
        seconds = min(seconds, most * SHORTEST_S)
    begin = time.perf_counter()
    origin, subject = load_subject(asked)
    from glassgpt.device import switched_on

    report: dict[str, Any] = {"glassgpt": glassgpt.__version__, "origin": origin}
    with switched_on(subject.machine):
        for line in measured(subject, report, seconds=seconds, in_parts=asked["profile"]):
            print(line, flush=True)
    report["seconds"] = round(time.perf_counter() - begin, 1)
    line = json.dumps(report)
    if file is not None:
        write_text(file, line + "\n")
    print(f"\n{line}")
    return 0


def _parser() -> Parser:
    parser = Parser("bench", USAGE, "How fast this machine trains and writes.", epilog=EPILOG)
    add: Any = parser.add_argument
    add("RUN", nargs="?", help="a run folder or a checkpoint file; left out, the default model with random weights")
    add("--model", "--checkpoint", metavar="RUN", help="the same, as a flag")
    add("--preset", metavar="NAME", help="a preset's model with random weights")
    add("--profile", action="store_true", help="take a training step apart, instead")
    add("--tokenizer", metavar="FILE", help="a tokenizer.json: the model's own, or the vocabulary of random weights")
    add("--seconds", metavar="S", default="3", help="about how long each part is measured (default: 3)")
    add("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--precision", metavar="NAME", help="auto, fp32, bf16, fp16 (default: as it was trained)")
    add("--json", metavar="FILE", help="also write the line of JSON there")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (0 < seconds < math.inf):
        raise ConfigError(f"--seconds {text}: give a number above zero, such as 3 or 0.5")
    return seconds


def load_subject(asked: dict[str, Any]) -> tuple[str, Subject]:
    """The model of a checkpoint, or one with random weights: what it is in words, and itself."""
    named = [place for place in (asked["RUN"], asked["model"]) if place is not None]
    if len(named) + (asked["preset"] is not None) > 1:
        names = " and ".join([*named, *([asked["preset"]] if asked["preset"] else [])])
        raise ConfigError(f"more than one model is named, {names}; give a RUN, --model or --preset")
    from glassgpt.device import choose_device, choose_machine
    from glassgpt.lab.bench import Subject
    from glassgpt.model.build import build

    checkpoint = chosen_checkpoint(named[0]).checkpoint if named else None
    if checkpoint is not None:
        config, origin = settings.assemble(checkpoint.settings), f"{named[0]}, step {checkpoint.step:,}"
        if asked["tokenizer"] is not None:
            refuse_other_tokenizer(asked["tokenizer"], checkpoint.tokenizer())
    else:
        config, origin = _random_model(asked)
    at_home = config.device == "auto" or config.device.split(":")[0] == choose_device(asked["device"])[0].type
    precision = asked["precision"] or (config.training.precision if at_home else "auto")
    training = config.training.but(threads=0, precision=precision)
    machine = choose_machine(training, asked["device"])
    model = checkpoint.model(machine.device) if checkpoint else build(config.model, seed=1).to(machine.device)
    return origin, Subject(model=model, training=training, machine=machine)


def _random_model(asked: dict[str, Any]) -> tuple[RunConfig, str]:
    from glassgpt.text.store import load_tokenizer

    config = settings.resolve(preset=asked["preset"]).config
    vocab_size = config.model.vocab_size or VOCAB_SIZE
    if asked["tokenizer"] is not None:
        vocab_size = load_tokenizer(asked["tokenizer"]).vocab_size
    name = f"the preset {asked['preset']}" if asked["preset"] else "the default model"
    return config.but(model=config.model.but(vocab_size=vocab_size)), f"{name}, with random weights"


def measured(subject: Subject, report: dict[str, Any], *, seconds: float, in_parts: bool = False) -> Iterator[str]:
    """The table, line by line as it is measured; the same figures under their names go into the report."""
    from glassgpt.lab.bench import machine_peak, measure_training, measure_writing

    yield from _heading(subject, report)
    peak = machine_peak(subject.machine, seconds=seconds / 3)
    report["peak"] = asdict(peak)
    yield f"peak        {peak.flops_per_s / 1e9:,.0f} GFLOP/s ({peak.source})"
    if in_parts:
        yield from profiled(subject, peak, report, seconds=seconds)
        return
    yield ""
    writing = measure_writing(subject, seconds=seconds)
    training = measure_training(subject, peak, seconds=seconds)
    report |= {"training": asdict(training), "writing": asdict(writing)}
    yield from _training_lines(training)
    yield from _writing_lines(writing)
    yield from _attention(subject, report, seconds=seconds)


def _heading(subject: Subject, report: dict[str, Any]) -> Iterator[str]:
    import torch

    config, machine = subject.model.config, subject.machine
    parameters = sum(parameter.numel() for parameter in subject.model.parameters())
    report |= {
        "torch": torch.__version__, "device": str(machine.device), "precision": machine.precision,
        "threads": machine.threads, "parameters": parameters, "model": config.model_dump(mode="json"),
        "batch_size": subject.training.batch_size, "seq_len": subject.training.seq_len,
    }  # fmt: skip
    form = f"{counted(config.n_layers, 'layer')} of {counted(config.n_heads, 'head')}, width {config.d_model}"
    yield f"model       {report['origin']}"
    yield f"            {parameters:,} parameters: {form if config.architecture == 'gpt' else config.architecture}"
    texts, tokens = counted(subject.training.batch_size, "text"), counted(subject.training.seq_len, "token")
    yield f"batch       {texts} of {tokens}"
    yield textwrap.fill(f"machine     {machine.why}", WIDTH, subsequent_indent=" " * 12)


def _training_lines(speed: TrainingSpeed) -> Iterator[str]:
    step = f"{speed.step_ms:,.1f} ms a step, of {speed.steps}"
    yield f"training    {speed.tokens_per_s:>12,.0f} tokens/s    {step}"
    yield f"            {speed.mfu:>12.1%} of the peak at {speed.flops_per_token:,} operations a token (MFU)"
    if speed.peak_memory_bytes is not None:
        yield f"            {bytes_for_people(speed.peak_memory_bytes):>12} of memory at most"
    if speed.why_not_compiled is not None:
        yield f"            not compiled: {speed.why_not_compiled[:60]}"


def _writing_lines(speed: WritingSpeed) -> Iterator[str]:
    yield f"writing     {speed.tokens_per_s:>12,.0f} tokens/s    one stream"
    yield f"            {speed.tokens_per_s_together:>12,.0f} tokens/s    {counted(speed.streams, 'stream')} together"
    yield f"            {speed.first_token_ms:>9,.1f} ms to the first token, of a prompt of {speed.prompt_tokens:,}"


def _attention(subject: Subject, report: dict[str, Any], *, seconds: float) -> Iterator[str]:
    from glassgpt.lab.bench import attention_shape
    from glassgpt.lab.forms import COMPILED, measure_compiled, measure_forms

    shape = attention_shape(subject)
    if shape is None:
        return
    rows = list(measure_forms(shape, seconds=seconds))
    compiled, reason = measure_compiled(shape, seconds=seconds / 2, limit_s=COMPILING_S * max(seconds / 3, 0.04))
    rows += compiled
    report["attention"] = [asdict(row) for row in rows]
    report["not_compiled"] = reason
    yield ""
    heads = counted(shape.heads, "head")
    yield f"attention, in ms: {heads} of width {shape.head_width}, about {shape.tokens:,} tokens in a call"
    yield "".join([f"{'context':20}", *(f"{context:>20,}" for context in shape.contexts)])
    yield "".join([" " * 20, *(f"{'forward':>10}{'and back':>10}" for _ in shape.contexts)])
    for form in dict.fromkeys(row.form for row in rows):
        yield _row(form, [row for row in rows if row.form == form])
    if reason is not None:
        yield f"{COMPILED:20}{'and no more' if compiled else 'skipped'}: {reason[:48]}"


def _row(form: str, cells: Sequence[Measured]) -> str:
    return "".join([f"{form:20}", *(f"{cell.forward_ms:>10,.2f}{cell.both_ms:>10,.2f}" for cell in cells)])
