"""What a power loss leaves of what was done to a disk: operations are replayed, and what was not synced may be lost.

Of a file any beginning of its unsynced writes may be there, or zeros in their place; of a folder any of its unsynced
changes may be undone. Who reads what is left is told in `power_test.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accidents.broken_disk import Done

State = dict[str, bytes]  # what lies where, drafts left out: nobody reads them
MOST_FREE = 6  # changes of folders of which every subset is tried: 64


@dataclass(eq=False)
class File:
    synced: bytes = b""
    unsynced: list[bytes] = field(default_factory=list)
    named: bool = False  # otherwise it was a draft ever since, and nobody reads it
    _known: tuple[tuple[int, int], list[bytes]] = ((-1, -1), [])

    def now(self) -> bytes:
        return self.synced + b"".join(self.unsynced)

    def possible(self) -> list[bytes]:
        if self._known[0] != (len(self.synced), len(self.unsynced)):
            self._known = (len(self.synced), len(self.unsynced)), self._possible()
        return self._known[1]

    def _possible(self) -> list[bytes]:
        """Any beginning, cut between writes and inside them; the right length, with zeros for what did not arrive."""
        writes, found = self.unsynced, [self.synced]
        cuts = range(len(writes)) if len(writes) <= 8 else (0, 1, len(writes) // 2, len(writes) - 1)
        for cut in cuts:
            begun = self.synced + b"".join(writes[:cut])
            found += [begun, begun + writes[cut][: len(writes[cut]) // 2], begun + bytes(sum(map(len, writes[cut:])))]
        if len(writes) > 1:
            found.append(self.synced + bytes(len(writes[0])) + b"".join(writes[1:]))
        return list(dict.fromkeys([*found, self.now()]))


@dataclass(eq=False)
class Change:
    """Of a folder: a name that goes, a name that comes. A rename is both, in one step."""

    gone: str | None = None
    new: str | None = None
    what: File | Folder | None = None


@dataclass(eq=False)
class Folder:
    synced: dict[str, File | Folder] = field(default_factory=dict)
    unsynced: list[Change] = field(default_factory=list)

    def entries(self, lost: frozenset[int] = frozenset()) -> dict[str, File | Folder]:
        entries = dict(self.synced)
        for change in self.unsynced:
            if id(change) in lost:
                continue
            if change.gone is not None and (change.what is None or entries.get(change.gone) is change.what):
                entries.pop(change.gone, None)
            if change.new is not None and change.what is not None:
                entries[change.new] = change.what
        return entries


class Drive:
    """What is on a disk, and what only seems to be."""

    def __init__(self, home: Path, before: Path) -> None:
        """Of a home that was as `before`, all of it synced."""
        self.home = home.resolve()
        self.root = _loaded(before)

    def do(self, done: Done) -> None:
        if done.what == "write":
            self._file(done.path).unsynced.append(done.content)
        elif done.what == "sync":
            file = self._file(done.path)
            file.synced, file.unsynced = file.now(), []
        elif done.what == "sync_folder":
            folder = self._at(done.path)
            assert isinstance(folder, Folder)
            folder.synced, folder.unsynced = folder.entries(), []
        elif done.what != "told":
            self._change(done)

    def _change(self, done: Done) -> None:
        parent, name = self._at(done.path.parent), done.path.name
        assert isinstance(parent, Folder)
        here = parent.entries().get(name)
        made = File(named=not _is_draft(name)) if done.what == "open" else Folder()
        if _is_draft(name) and done.what in {"open", "make_folder"}:
            parent.synced.setdefault(name, made)  # whether a draft is there makes no difference to anybody
        elif _is_draft(name) and done.what == "remove":
            parent.synced.pop(name, None)
        elif done.what in {"open", "make_folder"} and here is None:
            parent.unsynced.append(Change(new=name, what=made))
        elif done.what == "remove":
            parent.unsynced.append(Change(gone=name))
        elif done.what == "rename":
            if isinstance(here, File):
                here.named = here.named or not _is_draft(done.new.name)
            parent.unsynced.append(Change(gone=name, new=done.new.name, what=here))

    def states(self) -> Iterator[State]:
        """All that could be left, if the power went now."""
        changes = [id(change) for folder in self._folders(self.root) for change in folder.unsynced]
        for lost in _subsets(changes):
            files = dict(self.files(self.root, "", lost))
            names = list(files)
            for contents in itertools.product(*(files[name].possible() for name in names)):
                yield dict(zip(names, contents, strict=True))

    def matters(self, done: Done) -> bool:
        """Whether readers could see something else after it."""
        if done.what in {"write", "sync"}:
            return self._file(done.path).named
        return done.what != "told" and not (_is_draft(done.path.name) and done.what != "rename")

    def _folders(self, folder: Folder) -> Iterator[Folder]:
        yield folder
        for entry in folder.entries().values():
            if isinstance(entry, Folder):
                yield from self._folders(entry)

    def files(self, folder: Folder, above: str, lost: frozenset[int]) -> Iterator[tuple[str, File]]:
        for name, entry in folder.entries(lost).items():
            if _is_draft(name):
                continue
            if isinstance(entry, Folder):
                yield from self.files(entry, f"{above}{name}/", lost)
            else:
                yield f"{above}{name}", entry

    def _file(self, path: Path) -> File:
        file = self._at(path)
        assert isinstance(file, File), path
        return file

    def _at(self, path: Path) -> File | Folder:
        here: File | Folder = self.root
        for name in path.relative_to(self.home).parts:
            assert isinstance(here, Folder)
            here = here.entries()[name]
        return here


def _subsets(changes: Sequence[int]) -> Iterator[frozenset[int]]:
    """Of few changes any may be lost; of many all after one of them, or a single one."""
    if len(changes) <= MOST_FREE:
        for number in range(len(changes) + 1):
            yield from map(frozenset, itertools.combinations(changes, number))
        return
    yield from (frozenset(changes[place:]) for place in range(len(changes) + 1))
    yield from (frozenset({change}) for change in changes)


def _loaded(folder: Path) -> Folder:
    entries = {
        path.name: _loaded(path) if path.is_dir() else File(path.read_bytes(), named=True) for path in folder.iterdir()
    }
    return Folder(dict(entries))


def _is_draft(name: str) -> bool:
    return name.startswith(".")
