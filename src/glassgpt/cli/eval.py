"""`glassgpt eval`: how good a model is, beside what simple methods reach on the same text.

A loss alone says little. `xz` and n-grams (`lab/baselines.py`) give it a measure below, and for tales
the floor and the exam (`lab/exam.py`) one above. Everything is counted per byte too: that compares
across tokenizers, and across characters of several bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glassgpt import settings
from glassgpt.cli.chosen import RUN_HELP, aside, beginning, chosen_checkpoint
from glassgpt.cli.flags import Parser, whole
from glassgpt.config import DataConfig, RunConfig, SamplingConfig
from glassgpt.data import tales
from glassgpt.data.source import Source
from glassgpt.data.sources import find_source
from glassgpt.errors import DataError
from glassgpt.shortcut import most_steps

if TYPE_CHECKING:
    from glassgpt.checkpoint import Checkpoint
    from glassgpt.device import Machine
    from glassgpt.model.base import Predictor
from glassgpt.text.base import Tokenizer

EPILOG = """\
examples:
  glassgpt eval                          the newest run, on the text that it was kept from
  glassgpt eval runs/book --data other.txt
  glassgpt eval --stories 0              without the exam
"""
RIVALS_READ = 8_000_000  # characters of training text; xz takes a second for each million
NGRAM_ORDER = 5
LONGEST_TALE = 1000  # tokens; no story is longer


@dataclass(frozen=True, kw_only=True)
class Score:
    """One row of the table: who, and how many nats it pays for the whole text."""

    name: str
    nats: float
    characters: int
    size_bytes: int

    def row(self) -> str:
        per_character = self.nats / self.characters
        bits = self.nats / math.log(2) / self.size_bytes
        return f"{self.name:28} {per_character:14.4f} {bits:10.4f} {math.exp(per_character):12.3f}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that is measured, and what belongs to it."""

    checkpoint: Checkpoint
    config: RunConfig
    model: Predictor
    tokenizer: Tokenizer
    machine: Machine


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    count = whole("stories", asked["stories"], least=0)
    subject = load_subject(asked)
    own = _own_text(subject.config.data)
    most = most_steps()
    limit = RIVALS_READ if most is None else min(RIVALS_READ, 20_000 * most)
    training_text = beginning(own.train_chunks(), limit)
    if len(training_text) == limit:
        aside(f"the training text is long: the simple methods read its first {limit:,} characters only")
    text = held_out_text(subject, own) if asked["data"] is None else "".join(find_source(asked["data"]).chunks())
    if len(text) < 2:
        named = " ".join(asked["data"] or subject.config.data.data)
        raise DataError(f"the text of {named} is too short to measure anything on; give at least two characters")
    are_tales = asked["data"] is None and bool(own.tales_bytes) and not own.files
    if most is not None and len(text) > limit:
        aside(f"GLASSGPT_MAX_STEPS is set: only the first {limit:,} characters of the held-out text are measured")
        text = _beginning_of(text, limit, are_tales=are_tales)
    lines = measured(subject, text, training_text, are_tales=are_tales)
    for line in lines:
        print(line, flush=True)
    if are_tales and count:
        print()
        for line in examined(subject, training_text, min(count, most or count)):
            print(line, flush=True)
    return 0


def _beginning_of(text: str, characters: int, *, are_tales: bool) -> str:
    """Of tales whole ones: half a story has no probability."""
    return text[: text.rfind(tales.SEPARATOR, 0, characters) + len(tales.SEPARATOR)] if are_tales else text[:characters]


def _parser() -> Parser:
    parser = Parser("eval", "[RUN] [--data DATA] [--device NAME]", "Measure a model.", epilog=EPILOG)
    parser.add_argument("RUN", nargs="?", help=RUN_HELP)
    parser.add_argument("--data", metavar="DATA", action="append", help="a text of your choice (default: the held-out)")
    parser.add_argument("--unknown", metavar="{error,skip,replace}", default="error", help="unknown characters")
    parser.add_argument("--stories", metavar="N", default="100", help="tales: how many it writes for the exam (100)")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return parser


def load_subject(asked: dict[str, Any]) -> Subject:
    from glassgpt.device import choose_machine

    checkpoint = chosen_checkpoint(asked["RUN"]).checkpoint
    config = settings.assemble(checkpoint.settings)
    trained_with = config.training.precision if asked["device"] == "auto" else "auto"
    training = config.training.but(compile="off", threads=0, precision=trained_with)
    machine = choose_machine(training, asked["device"])
    tokenizer = checkpoint.tokenizer(unknown=asked["unknown"])
    return Subject(checkpoint=checkpoint, config=config, model=checkpoint.model(machine.device),
                   tokenizer=tokenizer, machine=machine)  # fmt: skip


def _own_text(data: DataConfig) -> Source:
    return find_source(data.data, val_fraction=data.val_fraction, text_column=data.text_column)


def held_out_text(subject: Subject, own: Source) -> str:
    """The text that the run was kept from; whether it is still the same is checked, and said."""
    from glassgpt.data.prepare import prepare
    from glassgpt.training.chosen import digest_of

    prepared = prepare(subject.config.data, vocab_size=subject.config.model.vocab_size)
    if digest_of(prepared) != subject.checkpoint.metrics.get("data_digest"):
        aside("the text has changed since the run: the model may have been trained on what is held out now")
    return "".join(own.val_chunks())


def measured(subject: Subject, text: str, training_text: str, *, are_tales: bool) -> Iterator[str]:
    """The table: the model, its rivals, and the floor where we know it."""
    loss, tokens, scored = _model_score(subject, text, are_tales=are_tales)
    yield f"tokens      {tokens:,} ({scored.characters:,} characters, {scored.size_bytes:,} bytes)"
    yield f"loss        {loss:.4f} nats per token, perplexity {math.exp(loss):.3f}"
    yield ""
    yield f"{'':28} {'nats/character':>14} {'bits/byte':>10} {'perplexity':>12}"
    yield scored.row()
    stories = tales.apart(text) if are_tales else []
    floor = tales.floor(stories) if are_tales else None
    if floor is not None:
        whole = {"characters": len(text), "size_bytes": len(text)}
        yield Score(name="the floor: no model can beat", nats=floor * len(text), **whole).row()
    rivals = list(_rivals(text, training_text))
    for rival in rivals:
        yield rival.row()
    yield ""
    yield _meaning(scored.nats / scored.characters, floor, rivals)


def _model_score(subject: Subject, text: str, *, are_tales: bool) -> tuple[float, int, Score]:
    from glassgpt.training.evaluate import evaluate, score_stories

    training, tokenizer = subject.config.training, subject.tokenizer
    if are_tales:
        stories = tales.apart(text)
        done = score_stories(subject.model, tokenizer, stories, context=training.seq_len,
                             batch_size=training.batch_size, machine=subject.machine)  # fmt: skip
        characters = size_bytes = len(text)
    else:
        ids = tokenizer.encode_array(text)
        if len(ids) < 2:
            raise DataError("the text has fewer than two known tokens, so there is nothing to predict; give more")
        done = evaluate(subject.model, ids, seq_len=training.seq_len, batch_size=training.batch_size,
                        machine=subject.machine)  # fmt: skip
        predicted = tokenizer.decode(ids[1:])  # the first token is given, not predicted
        characters, size_bytes = len(predicted), len(predicted.encode())
    name = f"this model (step {subject.checkpoint.step:,})"
    score = Score(name=name, nats=done.loss * done.tokens, characters=characters, size_bytes=size_bytes)
    return done.loss, done.tokens, score


def _rivals(text: str, training_text: str) -> Iterator[Score]:
    from glassgpt.lab.baselines import ngram_loss, xz_bits_per_byte

    characters, size_bytes = len(text), len(text.encode())
    nats = ngram_loss(training_text, text, order=NGRAM_ORDER) * characters
    yield Score(name=f"order-{NGRAM_ORDER} n-grams", nats=nats, characters=characters, size_bytes=size_bytes)
    for name, before in (("xz, after the training text", training_text), ("xz, alone", "")):
        nats = xz_bits_per_byte(text, training_text=before) * size_bytes * math.log(2)
        yield Score(name=name, nats=nats, characters=characters, size_bytes=size_bytes)


def _meaning(nats: float, floor: float | None, rivals: Sequence[Score]) -> str:
    """The table in one sentence."""
    if floor is not None:
        return f"Its loss is {nats - floor:.4f} nats per character above what the stories' own chance allows."
    choices = f"At each character it hesitates as if between {math.exp(nats):.1f} equally likely ones"
    best = min(rivals, key=lambda rival: rival.nats / rival.characters)
    theirs = best.nats / best.characters
    verdict = f"{1 - nats / theirs:.0%} less than" if nats < theirs else f"{nats / theirs - 1:.0%} more than"
    return f"{choices}; it needs {verdict} {best.name}, the best simple method."


def examined(subject: Subject, training_text: str, count: int) -> Iterator[str]:
    """What the grammar says about stories that the model writes."""
    from glassgpt.lab.exam import mark
    from glassgpt.sampling.generate import write

    stories = [""] * count
    wanted = SamplingConfig(max_new_tokens=LONGEST_TALE, stop=(tales.SEPARATOR,), num_samples=count)
    with subject.machine.autocast():
        for event in write(subject.model, subject.tokenizer, tales.BEFORE, wanted,
                           context=subject.config.training.seq_len):  # fmt: skip
            stories[event.sample] += event.text
    how = f"temperature {wanted.temperature:g}, min_p {wanted.min_p:g}, seed {wanted.seed}"
    yield f"The exam, of stories that it writes ({how}):"
    yield from mark(stories, training_text=training_text).report().split("\n")
