"""Tales, the built-in world: stories, and the exact probability of each.

A story depends on its seed and index alone. `floor` is the loss that no model of these stories can beat.
How a story unfolds is in `grammar`; what there is to tell, in `world`, `scenes` and `plots`.
"""

import itertools
import random
import re
from collections.abc import Iterable, Iterator
from functools import cache

from glassgpt.data.grammar import Grammar, NotATale
from glassgpt.data.mishaps import MISHAPS
from glassgpt.data.plots import PLOTS
from glassgpt.data.scenes import SCENES
from glassgpt.data.world import WORDS

__all__ = [
    "BEFORE",
    "SEPARATOR",
    "NotATale",
    "apart",
    "are_all_of",
    "corpus",
    "floor",
    "grammar",
    "log_prob",
    "sentences",
    "shapes",
    "spelling",
]
__all__ += ["stories", "story", "words"]

SEPARATOR = "\n\n"  # what ends every story in a corpus; a story never contains it inside
BEFORE = "." + SEPARATOR  # what a model sees before a story: the end of another one, as in a corpus
WORLD = SCENES | PLOTS | MISHAPS


@cache
def grammar() -> Grammar:
    """The whole world, compiled at its first use."""
    return Grammar(WORDS, WORLD)


def are_all_of(data: Iterable[str]) -> bool:
    """Whether a run's data name nothing else, as `glassgpt data list` reads names: `tales`, or `tales:10MB`."""
    return all(spec.partition(":")[0] == "tales" for spec in data)


def story(seed: int, index: int) -> str:
    """The `index`-th story of a seed's world, without SEPARATOR."""
    return grammar().tell(_dice(seed, index).random)[0]


def _dice(seed: int, index: int) -> random.Random:
    # Only `Random.random()` has a stream that Python promises to keep; its seed is one integer made of both.
    return random.Random((seed % 2**64) << 64 | index % 2**64)


def stories(seed: int, start: int = 0) -> Iterator[str]:
    """All stories of a seed's world, from `start` on, without an end."""
    return (story(seed, index) for index in itertools.count(start))


def corpus(seed: int, size_bytes: int, start: int = 0) -> Iterator[str]:
    """Whole stories, each followed by SEPARATOR, until at least `size_bytes` are written."""
    for tale in stories(seed, start):
        if size_bytes <= 0:
            return
        yield tale + SEPARATOR
        size_bytes -= len(tale) + len(SEPARATOR)  # plain ASCII: a character is a byte


def apart(text: str) -> list[str]:
    """The stories of a corpus, the other way round: `apart("".join(corpus(1, 2000)))[0] == story(1, 0)`."""
    return text.removesuffix(SEPARATOR).split(SEPARATOR)


def log_prob(story: str) -> float:
    """The exact natural-log probability of the whole story, its end included; raises NotATale."""
    return grammar().read(story)


def floor(stories: Iterable[str]) -> float:
    """Nats per character that no model can beat on these stories, each with its SEPARATOR."""
    nats = characters = 0.0
    for tale in stories:
        nats -= log_prob(tale)
        characters += len(tale) + len(SEPARATOR)
    return nats / characters


@cache
def words() -> frozenset[str]:
    """Every word that the world can write, in lower case."""
    return frozenset(spelling(" ".join(text for part in grammar().parts() for text in grammar().texts(part))))


def spelling(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"[a-z]+(?:[-'][a-z]+)*", text.lower())


def sentences(text: str) -> list[str]:
    """A story, or a template, sentence by sentence.

    What follows a quotation in small letters belongs to it: `"Oh!" said Max.` is one sentence.
    """
    parts = (part.strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if part]


_SENTENCE_END = re.compile(r'(?<=[.!?])\s+(?=[A-Z"{])|(?<=[.!?]")\s+(?=[A-Z"]|\{\w+[:}]|\{\w+\.[A-Z])|\n+')


@cache
def shapes() -> tuple[str, ...]:
    """The templates of all sentences, in the order of the world."""
    whole = {name: options for name, options in WORLD.items() if options[0][-1] in '.!?"}'}
    inner = re.compile(r"\{:(" + "|".join(whole) + r")\}")  # a sentence unfolds here: another one ends
    sources = (inner.sub("\n", source) for options in whole.values() for source in options)
    return tuple(dict.fromkeys(shape for source in sources for shape in sentences(source)))
