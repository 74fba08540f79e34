"""The doors at the project's root: `python train.py` and its like, as five small projects have taught people to type.

Each translates what they type into a verb of `glassgpt` and calls it; what a value means is decided there. Which
document each habit comes from is told in docs/editions.md.
"""

from __future__ import annotations

import difflib
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from glassgpt.cli.main import guarded, main
from glassgpt.errors import ConfigError

# Where the editions leave their models; a bare `python sample.py` takes the newest of these and of the runs.
PUBLISHED = ("out/ckpt.pt", "checkpoints/best_model.pt", "checkpoints/model.pt", "tiny_gpt_checkpoint.pt")
OTHER_TEXTS = ("--data", "--dataset", "--input", "--tokenizer", "--unknown")
ACTIONS = ("--train", "--encode", "--decode", "--show")  # of tok.py
DATA_VERBS = {"list", "prepare", "show", "export"}


def train(argv: Sequence[str]) -> int:
    """mini_gpt where nothing else is named; a new numbered run each time, for that is how these scripts behave."""
    if argv and argv[0] == "generate":
        return _generate(argv[1:])
    if _has(argv, "--help", "-h", "--resume"):
        return main(["train", *argv])
    preset: list[str] = []
    if not _has(argv, "--preset", "--config"):
        # A vocabulary size and no word about text or tokenizer: that is TinyGPT's command.
        is_tiny = _has(argv, "--vocab-size", "--vocab_size") and not _has(argv, *OTHER_TEXTS) and not _has_words(argv)
        name = "tiny" if is_tiny else "mini_gpt"
        print(f"the preset {name}; --preset NAME takes another, and the flags here stand over it", flush=True)
        preset = ["--preset", name]
    return main(["train", *preset, *([] if _has(argv, "--overwrite") else ["--numbered"]), *argv])


def _generate(words: Sequence[str]) -> int:
    """`python train.py generate checkpoints/best_model.pt "ROMEO:"`"""
    plain = [word for word in words[:2] if not word.startswith("--")]
    prompt = ["--prompt", plain[1]] if len(plain) > 1 else []
    return main(["sample", *plain[:1], *prompt, *words[len(plain) :]])


def sample(argv: Sequence[str]) -> int:
    """Without settings, as NanoGPT's script draws: from the whole distribution, beginning with a line break."""
    if _has(argv, "--help", "-h"):
        return main(["sample", *argv])
    given = list(argv)
    if not _has(given, "--temperature", "--temp"):
        given += ["--temperature", "1"]
    if not _has(given, "--min-p", "--min_p"):
        given += ["--min-p", "0"]
    named = _has(given, "--checkpoint", "--model") or (argv and not argv[0].startswith("-"))
    if not named and (place := _newest_published()):
        given += ["--checkpoint", str(place)]
    return main(["sample", *given])


def _newest_published() -> Path | None:
    """A published model that is newer than every run, as when it alone was brought here."""
    places = [Path(place) for place in PUBLISHED if Path(place).is_file()]
    if not places:
        return None
    newest = max(places, key=lambda place: place.stat().st_mtime_ns)
    runs = [path.stat().st_mtime_ns for path in Path("runs").glob("*/*.safetensors")]
    return newest if newest.stat().st_mtime_ns > max(runs, default=0) else None


def data(argv: Sequence[str]) -> int:
    """`python data.py`: TinyShakespeare as text, token tensors and vocabulary, in data/."""
    if argv and (argv[0] in DATA_VERBS or _has(argv, "--help", "-h")):
        return main(["data", *argv])
    return main(["data", "export", *argv])


def tok(argv: Sequence[str]) -> int:
    """`python -m tok --train FILE --out tokenizer.json`, `--tokenizer FILE --encode TEXT`: flags for our words."""
    words = list(argv)
    for flag in ACTIONS:
        place = next((place for place, word in enumerate(words) if word.split("=", 1)[0] == flag), None)
        if place is None:
            continue
        _, _, text = words.pop(place).partition("=")
        value = [text] if text else words[place : place + 1]
        if not text:
            del words[place : place + 1]
        kind = ["--kind", "bpe"] if flag == "--train" and not _has(words, "--kind") else []
        return main(["tokenizer", flag[2:], *kind, *words, *(["--", *value] if value else [])])
    near = next((flag for word in words for flag in difflib.get_close_matches(word, ACTIONS, n=1, cutoff=0.8)), None)
    if near is not None:
        return guarded(lambda: _refuse(f"{' '.join(words)}: what should be done? Did you mean {near}?"))
    return main(["tokenizer", *(words or ["--help"])])


def _refuse(why: str) -> int:
    raise ConfigError(why)


def benchmark(argv: Sequence[str]) -> int:
    return main(["bench", *argv])


def plot(argv: Sequence[str]) -> int:
    return main(["plot", *argv])


def sweep(argv: Sequence[str]) -> int:
    return main(["sweep", *argv])


def bigram(argv: Sequence[str], names: MutableMapping[str, object]) -> int:
    """`python -i bigram.py` leaves `model`, `encode`, `decode` and `context` among the names, to play with."""

    def climb() -> int:
        from glassgpt.cli.bigram import climb

        names.update(climb(argv)._asdict())
        return 0

    return guarded(climb)


def _has_words(argv: Sequence[str]) -> bool:
    """Whether a text was named without a flag."""
    return bool(argv) and not argv[0].startswith("-")


def _has(argv: Sequence[str], *flags: str) -> bool:
    """Whether one of the flags was given, alone or with its value: `--preset X` or `--preset=X`."""
    return any(word.split("=", 1)[0] in flags for word in argv)
