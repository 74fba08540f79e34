"""`glassgpt eval`: how good a model is, beside what simple methods reach on the same text.

The numbers come from `lab/scores.py` and `lab/exam.py`; here they are asked for, and shown. What was measured on a
run's own held-out text is kept in its folder (`lab/evaluations.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt import settings
from glassgpt.cli.chosen import RUN_HELP, aside, beginning, chosen_checkpoint
from glassgpt.cli.flags import Parser, whole
from glassgpt.data import tales
from glassgpt.data.sources import find_source
from glassgpt.errors import CheckpointError, DataError, RunError
from glassgpt.lab.evaluations import Evaluation, Marked, Rival, remember
from glassgpt.lab.exam import Marks, mark
from glassgpt.lab.scores import EXAM, Measured, Score, Subject, floor_of, measure, rivals_on, stories_by
from glassgpt.runs import RunFolder
from glassgpt.shortcut import most_steps

if TYPE_CHECKING:
    from glassgpt.checkpoint import Checkpoint

EPILOG = """\
examples:
  glassgpt eval                          the newest run, on the text that it was kept from
  glassgpt eval runs/book --kept         every step that --keep-every kept, and the best
  glassgpt eval runs/book --data other.txt
  glassgpt eval --stories 0              without the exam
"""
RIVALS_READ = 8_000_000  # characters of training text; xz takes a second for each million
MARKS = ("spelled", "parsed", "heroes", "sums", "places", "whole", "novel")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the models are measured on."""

    text: str
    training_text: str
    are_tales: bool
    stories: int  # to write for the exam
    is_own: bool  # the whole text that the run was kept from, as it was then
    floor: Score | None


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    count = whole("stories", asked["stories"], least=0)
    found = chosen_checkpoint(asked["RUN"])
    folder = RunFolder(found.path.parent)
    if asked["kept"] and not folder.kept():
        raise RunError(f"{folder.path} keeps no steps; `glassgpt train --keep-every N` keeps them, or leave --kept out")
    subject = load_subject(found.checkpoint, asked)
    ground = ground_for(subject, asked, count)
    results = list(_shown_in_lines(folder, ground, asked)) if asked["kept"] else [_shown(subject, ground, found.path)]
    ours = {folder.best, folder.last, folder.previous, *folder.kept().values()}
    if ground.is_own and found.path in ours and (note := remember(folder, results)):
        aside(note)
    return 0


def _parser() -> Parser:
    parser = Parser("eval", "[RUN] [--kept] [--data DATA] [--device NAME]", "Measure a model.", epilog=EPILOG)
    parser.add_argument("RUN", nargs="?", help=RUN_HELP)
    parser.add_argument("--kept", action="store_true", help="the best and every step that was kept, oldest first")
    parser.add_argument("--data", metavar="DATA", action="append", help="a text of your choice (default: the held-out)")
    parser.add_argument("--unknown", metavar="{error,skip,replace}", default="error", help="unknown characters")
    parser.add_argument("--stories", metavar="N", default="100", help="tales: how many it writes for the exam (100)")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return parser


def load_subject(checkpoint: Checkpoint, asked: Mapping[str, Any]) -> Subject:
    from glassgpt.device import choose_machine

    config = settings.assemble(checkpoint.settings)
    trained_with = config.training.precision if asked["device"] == "auto" else "auto"
    training = config.training.but(compile="off", threads=0, precision=trained_with)
    machine = choose_machine(training, asked["device"])
    tokenizer = checkpoint.tokenizer(unknown=asked["unknown"])
    return Subject(checkpoint=checkpoint, config=config, model=checkpoint.model(machine.device),
                   tokenizer=tokenizer, machine=machine)  # fmt: skip


def ground_for(subject: Subject, asked: Mapping[str, Any], count: int) -> Ground:
    data, named, most = subject.config.data, asked["data"], most_steps()
    own = find_source(data.data, val_fraction=data.val_fraction, text_column=data.text_column)
    limit = RIVALS_READ if most is None else min(RIVALS_READ, 20_000 * most)
    training_text = beginning(own.train_chunks(), limit)
    if len(training_text) == limit:
        aside(f"the training text is long: the simple methods read its first {limit:,} characters only")
    is_own = named is None and _is_as_it_was(subject)
    text = "".join(own.val_chunks() if named is None else find_source(named).chunks())
    if len(text) < 2:
        name = " ".join(named or data.data)
        raise DataError(f"the text of {name} is too short to measure anything on; give at least two characters")
    are_tales = named is None and bool(own.tales_bytes) and not own.files
    if most is not None and len(text) > limit:
        aside(f"GLASSGPT_MAX_STEPS is set: only the first {limit:,} characters of the held-out text are measured")
        text = _beginning_of(text, limit, are_tales=are_tales)
    floor = floor_of(text) if are_tales else None
    return Ground(text=text, training_text=training_text, are_tales=are_tales, stories=min(count, most or count),
                  is_own=is_own and most is None, floor=floor)  # fmt: skip


def _beginning_of(text: str, characters: int, *, are_tales: bool) -> str:
    """Of tales whole ones: half a story has no probability."""
    return text[: text.rfind(tales.SEPARATOR, 0, characters) + len(tales.SEPARATOR)] if are_tales else text[:characters]


def _is_as_it_was(subject: Subject) -> bool:
    """Whether the held-out text is still the one that the run was kept from; if not, it is said."""
    from glassgpt.data.prepare import prepare
    from glassgpt.training.chosen import digest_of

    prepared = prepare(subject.config.data, vocab_size=subject.config.model.vocab_size)
    if digest_of(prepared) == subject.checkpoint.metrics.get("data_digest"):
        return True
    aside("the text has changed since the run: the model may have been trained on what is held out now")
    return False


def _say(line: str) -> None:
    print(line, flush=True)


def _shown(subject: Subject, ground: Ground, file: Path) -> Evaluation:
    """The table: the model, its rivals, and the floor where we know it; then the exam."""
    done, rivals = measure(subject, ground.text, are_tales=ground.are_tales), []
    scored, floor = done.score, ground.floor
    _say(f"tokens      {done.tokens:,} ({scored.characters:,} characters, {scored.size_bytes:,} bytes)")
    _say(f"loss        {done.loss:.4f} nats per token, perplexity {math.exp(done.loss):.3f}")
    _say(f"\n{'':28} {'nats/character':>14} {'bits/byte':>10} {'perplexity':>12}")
    _say(_row(scored))
    if floor is not None:
        _say(_row(floor))
    for rival in rivals_on(ground.text, ground.training_text):
        _say(_row(rival))
        rivals.append(rival)
    _say(f"\n{_meaning(scored.nats_per_character, floor.nats_per_character if floor else None, rivals)}")
    marks = _examined(subject, ground)
    if marks is not None:
        how = f"temperature {EXAM.temperature:g}, min_p {EXAM.min_p:g}, seed {EXAM.seed}"
        _say(f"\nThe exam, of stories that it writes ({how}):\n{marks.report()}")
    return _evaluation(subject, done, ground=ground, rivals=rivals, marks=marks, file=file)


def _row(score: Score) -> str:
    nats = score.nats_per_character
    return f"{score.name:28} {nats:14.4f} {score.bits_per_byte:10.4f} {math.exp(nats):12.3f}"


def _examined(subject: Subject, ground: Ground) -> Marks | None:
    """What the grammar says about stories that the model writes."""
    if not ground.are_tales or not ground.stories:
        return None
    return mark(stories_by(subject, ground.stories), training_text=ground.training_text)


def _shown_in_lines(folder: RunFolder, ground: Ground, asked: Mapping[str, Any]) -> Iterator[Evaluation]:
    """A line for each step, with what the exam says of it; then what they are to be held against."""
    with_marks = ground.are_tales and ground.stories > 0
    _say(" ".join([f"{'step':>8} {'nats/character':>14}", *(f"{name:>8}" for name in MARKS if with_marks)]))
    rivals = list(rivals_on(ground.text, ground.training_text))
    for file, checkpoint in _by_step(folder):
        subject = load_subject(checkpoint, asked)
        done, marks = measure(subject, ground.text, are_tales=ground.are_tales), _examined(subject, ground)
        shares = [getattr(marks, name) for name in MARKS if marks is not None]
        shown = ("-" if share is None else f"{share:.1%}" for share in shares)
        _say(
            " ".join([f"{checkpoint.step:>8,} {done.score.nats_per_character:14.4f}", *(f"{one:>8}" for one in shown)])
        )
        yield _evaluation(subject, done, ground=ground, rivals=rivals, marks=marks, file=file)
    for score in [*([ground.floor] if ground.floor else []), *rivals]:
        _say(f"{'':8} {score.nats_per_character:14.4f}  {score.name}")


def _by_step(folder: RunFolder) -> Iterator[tuple[Path, Checkpoint]]:
    """The best and those that were kept; a damaged one is said, and left out."""
    from glassgpt.checkpoint import load_checkpoint

    waiting = dict(folder.kept())
    with suppress(CheckpointError):  # which was said already, when it was looked for
        waiting[load_checkpoint(folder.best).step] = folder.best
    for _, file in sorted(waiting.items()):
        try:
            yield file, load_checkpoint(file)
        except CheckpointError as problem:
            aside(str(problem))


def _evaluation(
    subject: Subject, done: Measured, *, ground: Ground, rivals: Sequence[Score], marks: Marks | None, file: Path
) -> Evaluation:
    return Evaluation(
        step=subject.checkpoint.step, loss=done.loss, nats_per_character=done.score.nats_per_character,
        floor=ground.floor.nats_per_character if ground.floor else None, file=file.name,
        rivals=[Rival(name=one.name, nats_per_character=one.nats_per_character) for one in rivals],
        marks=Marked.of(marks) if marks else None,
    )  # fmt: skip


def _meaning(nats: float, floor: float | None, rivals: Sequence[Score]) -> str:
    """The table in one sentence."""
    if floor is not None:
        return f"Its loss is {nats - floor:.4f} nats per character above what the stories' own chance allows."
    choices = f"At each character it hesitates as if between {math.exp(nats):.1f} equally likely ones"
    best = min(rivals, key=lambda rival: rival.nats_per_character)
    theirs = best.nats_per_character
    verdict = f"{1 - nats / theirs:.0%} less than" if nats < theirs else f"{nats / theirs - 1:.0%} more than"
    return f"{choices}; it needs {verdict} {best.name}, the best simple method."
