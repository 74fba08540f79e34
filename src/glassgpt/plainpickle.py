"""The pickle in a .pt file, read by an interpreter that can make plain values and name tensors, and nothing else.

A pickle is a list of orders for a machine with a stack. Python's own would import and call whatever a file asks for;
here stand the thirty orders that torch writes for dicts, texts, numbers and tensors, and a call is understood only as
"a tensor of this shape lies there". Which bytes are the tensor's is told in `torchfile.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_ORDERS = 800_000  # some thirty for each tensor; five hundred layers with AdamW's memory have 24,000 tensors
MOST_OBJECTS = 375_000  # that take memory: every other order makes one
MOST_MARKS = 100  # open at once
MOST_TEXT = 60 << 20  # bytes of memory; the tokenizer of 128,000 tokens needs half of it
TENSOR, ORDERED = "torch._utils._rebuild_tensor_v2", "collections.OrderedDict"
STORAGES = {f"torch.{kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Byte", "Bool")}


class NotPlainError(ValueError):
    """It asks for something that is no plain value."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle calls by name; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers of one kind, under the name of their entry."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """A tensor that would use its whole storage, in the usual order of rows."""

    storage: Storage
    shape: tuple[int, ...]


class Reader:
    """`Reader(pickle).read()`: the one value that it describes, with plans where its tensors are."""

    def __init__(self, pickle: bytes) -> None:
        self.pickle, self.at = pickle, 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each open mark
        self.memo: list[Any] = []
        self.objects = 0
        self.room = MOST_TEXT  # what texts may take in memory
        self.again = len(pickle)  # characters that texts which are used again may have together

    def read(self) -> Any:
        pickle, find = self.pickle, ORDERS.get
        try:
            for _ in range(MOST_ORDERS):
                order = pickle[self.at]
                self.at += 1
                if order == STOP:
                    return self.stack.pop()
                act = find(order)
                if act is None:
                    raise NotPlainError(f"the order {bytes([order])!r} at byte {self.at - 1}")
                act(self)
        except NotPlainError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as problem:
            raise ValueError(f"its pickle breaks off or is none at byte {self.at} ({type(problem).__name__})") from None
        raise NotPlainError(f"more than {MOST_ORDERS:,} orders")

    def take(self, count: int) -> bytes:
        if count > len(self.pickle) - self.at:
            raise ValueError(f"its pickle breaks off at byte {self.at}: {count:,} more are announced")
        self.at += count
        return self.pickle[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.pickle.index(b"\n", self.at, self.at + 200)
        return self.take(end + 1 - self.at)[:-1].decode("ascii", "replace")

    def push(self, value: object) -> None:
        self.objects += 1
        if self.objects > MOST_OBJECTS:
            raise NotPlainError(f"more than {MOST_OBJECTS:,} values")
        self.stack.append(value)

    def mark(self) -> None:
        if len(self.below) > MOST_MARKS:
            raise NotPlainError("more in each other than any value has")
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def recall(self, place: int) -> None:
        value = self.memo[place]
        if isinstance(value, str):
            self.again -= len(value)
            if self.again < 0 and len(value) > 100:
                raise NotPlainError("the same text again and again")
        elif isinstance(value, (dict, list)):  # in each other they could grow without end
            raise NotPlainError("the same table in two places")
        self.stack.append(value)

    def remember(self, place: int) -> None:
        if place != len(self.memo):
            raise NotPlainError("places in its memory out of order")
        self.memo.append(self.stack[-1])

    def whole(self) -> None:
        length = self.take(1)[0]
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def text(self) -> None:
        raw = self.take(self.number("<I"))
        self.room -= len(raw) if raw.isascii() else 4 * len(raw)  # one character of four bytes makes all so wide
        if self.room < 0:
            raise NotPlainError("more text than any tokenizer has")
        self.push(raw.decode("utf-8"))

    def named(self) -> None:
        name = f"{self.line()}.{self.line()}"
        if name not in {TENSOR, ORDERED, *STORAGES}:
            raise NotPlainError(name)
        self.stack.append(Name(name))

    def several(self, count: int) -> None:
        items = [self.stack.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def append(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        table = self._top(dict)
        for name, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(name, (str, int)) or name in table:
                raise NotPlainError("a name that is no text, or stands there twice")
            table[name] = value

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is kind:
            return self.stack[-1]
        raise TypeError

    def find_storage(self) -> None:
        what, kind, key, _, count = self.stack.pop()
        if what != "storage" or type(kind) is not Name or type(key) is not str or type(count) is not int:
            raise TypeError
        self.push(Storage(kind.name, key, count))

    def call(self) -> None:
        given, named = self.stack.pop(), self.stack.pop()
        if named == Name(ORDERED) and given == ():
            self.push({})
        elif named == Name(TENSOR):
            self.push(_plan(*given[:4]))
        else:
            raise NotPlainError("a call")

    def dress(self) -> None:
        """What torch hangs on a dict of weights beside its items (`_metadata`) is let go."""
        self.stack.pop()
        self._top(dict)


def _plan(storage: Any, offset: Any, shape: Any, strides: Any) -> TensorPlan:
    if type(storage) is not Storage or not all(type(size) is int and size >= 0 for size in (*shape, *strides)):
        raise TypeError
    count, usual = 1, []
    for size in reversed(shape):
        usual.append(count)
        count *= max(size, 1)
    room, count = count, count if all(shape) else 0
    places = zip(reversed(shape), usual, reversed(strides), strict=True)
    same = not count or all(mine == theirs or size == 1 for size, mine, theirs in places)
    if offset != 0 or room >= 1 << 62 or not same or len(strides) != len(shape) or count != storage.count:
        raise NotPlainError("a tensor that does not lie by itself, as pack() leaves it")
    return TensorPlan(storage, shape)


STOP = ord(".")
Act = Callable[[Reader], object]
ORDERS: dict[int, Act] = {
    0x80: lambda self: self.take(1),  # the protocol
    ord("}"): lambda self: self.push({}),
    ord("]"): lambda self: self.push([]),
    ord(")"): lambda self: self.stack.append(()),
    ord("N"): lambda self: self.stack.append(None),
    0x88: lambda self: self.stack.append(True),
    0x89: lambda self: self.stack.append(False),
    ord("K"): lambda self: self.stack.append(self.take(1)[0]),
    ord("M"): lambda self: self.push(self.number("<H")),
    ord("J"): lambda self: self.push(self.number("<i")),
    0x8A: Reader.whole,
    ord("G"): lambda self: self.push(self.number(">d")),
    ord("X"): Reader.text,
    ord("q"): lambda self: self.remember(self.take(1)[0]),
    ord("r"): lambda self: self.remember(self.number("<I")),
    ord("h"): lambda self: self.recall(self.take(1)[0]),
    ord("j"): lambda self: self.recall(self.number("<I")),
    ord("("): Reader.mark,
    ord("t"): lambda self: self.push(tuple(self.since_mark())),
    0x85: lambda self: self.several(1),
    0x86: lambda self: self.several(2),
    0x87: lambda self: self.several(3),
    ord("a"): lambda self: self.append([self.stack.pop()]),
    ord("e"): lambda self: self.append(self.since_mark()),
    ord("s"): lambda self: self.set_items([self.stack.pop(-2), self.stack.pop()]),
    ord("u"): lambda self: self.set_items(self.since_mark()),
    ord("c"): Reader.named,
    ord("Q"): Reader.find_storage,
    ord("R"): Reader.call,
    ord("b"): Reader.dress,
}
