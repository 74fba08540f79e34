"""What `--data` means: files, folders, globs, the few texts that have a name, and data sets of the hub.

Several together are one text. When the data is not to be had (no network, say), the next of the fall-back is taken and
a note says so. How a text is read in pieces is in `source`, how rows become text in `rows`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from glassgpt.data.download import Remote, fetch
from glassgpt.data.reading import checked, text_files_in, text_files_matching
from glassgpt.data.rows import Wanted, keep_rows
from glassgpt.data.source import Source
from glassgpt.errors import DataError, DownloadError, MissingExtraError, did_you_mean
from glassgpt.files import cache_root

__all__ = ["Named", "Source", "find_source", "list_named"]

TALES_BYTES = 4_000_000
LONGEST_NAME_BYTES = 100  # of a folder that is named after a text; file systems allow 255, and more is put behind it
UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}

NO_SOURCES = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}  # of the library's folder

MIRROR = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/"
SHAKESPEARE_PATH = "tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394

WIKITEXT = Wanted(name="Salesforce/wikitext", config="wikitext-103-raw-v1", lines=True)
WIKITEXT_FILES = ("wt103_train.txt", "wt103_valid.txt")  # where somebody has them already, in the working folder

Progress = Callable[[str, float], None]  # what is being done, and how far it is (0 to 1)


class Named(NamedTuple):
    name: str
    what: str
    size: str


class NotHereError(DataError):
    """A file that is not there; a typing mistake, unless a fall-back was named for it."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where and how to look for what a word means."""

    cache: Path
    tell: Progress
    text_column: str
    hurried: bool  # there is something else to take


def find_source(
    specs: Sequence[str],
    *,
    val_fraction: float = 0.1,
    fallback: Sequence[str] = (),
    text_column: str = "text",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Source:
    """The text that `--data` names, or the first of the fall-back that can be had.

    Mistakes that can be seen without reading it all are told here.
    """
    if not specs:
        raise DataError("no data was named; --data takes files, folders, globs, or a name from `glassgpt data list`")
    choices, missed = [tuple(specs), *((spec,) for spec in fallback)], []
    for number, choice in enumerate(choices, 1):
        search = Search(cache=cache or cache_root(), tell=progress or (lambda _what, _share: None),
                        text_column=text_column, hurried=number < len(choices))  # fmt: skip
        try:
            source = replace(_together(choice, search), val_fraction=val_fraction)
        except (DownloadError, MissingExtraError, NotHereError) as problem:
            missed.append((" ".join(choice), problem))
            continue
        return replace(source, note="; ".join(filter(None, [_what_gave_way(missed, choice), source.note])))
    raise missed[0][1]


def list_named() -> list[Named]:
    """The texts that have a name, for `glassgpt data list`."""
    return [
        Named("tales", "stories of the built-in world, as many as you like (tales:10MB)", f"{TALES_BYTES // 10**6} MB"),
        Named("python", "the sources of Python's standard library on this machine", "about 15 MB"),
        Named("tinyshakespeare", "plays of Shakespeare in one file, downloaded once", "1.1 MB"),
        Named("wikitext-103", "good articles of Wikipedia, downloaded once (package datasets)", "540 MB"),
        Named("hf:NAME[:CONFIG]", "a data set of the Hugging Face hub, or a folder like one (package datasets)", "any"),
    ]


def _what_gave_way(missed: Sequence[tuple[str, Exception]], taken: Sequence[str]) -> str:
    if not missed:
        return ""
    (first, why), *others = [(name, _in_few_words(problem)) for name, problem in missed]
    lost = "".join(f", nor {name} ({reason})" for name, reason in others)
    return f"{first} is not to be had ({why}){lost}: TAKING {' '.join(taken)} INSTEAD; --no-fallback refuses that"


def _in_few_words(problem: Exception) -> str:
    if isinstance(problem, DownloadError):
        return problem.brief
    return "no such file here" if isinstance(problem, NotHereError) else "it needs: pip install 'glassgpt[hub]'"


def _together(specs: Sequence[str], search: Search) -> Source:
    parts = [_one(spec, search) for spec in specs]
    more = f"+{len(parts) - 1}" if len(parts) > 1 else ""
    return Source(
        name=_fit_for_a_folder(parts[0].name) + more,
        files=tuple(path for part in parts for path in part.files),
        tales_bytes=sum(part.tales_bytes for part in parts),
        val_files=tuple(path for part in parts for path in part.val_files),
        framed=frozenset[Path]().union(*(part.framed for part in parts)),
        specs=tuple(specs),
        note="; ".join(filter(None, (part.note for part in parts))),
    )


def _one(spec: str, search: Search) -> Source:
    """A name first, then a path, then a glob; `./tales` is the file of that name."""
    name, _, more = spec.partition(":")
    if name == "tales":
        return Source("tales", (), _size_bytes(spec, more) if more else TALES_BYTES)
    if spec == "python":
        return Source("python", _standard_library())
    if spec == "tinyshakespeare":
        return Source("tinyshakespeare", (_tinyshakespeare(search),))
    if spec == "wikitext-103":
        return _wikitext(search)
    if name == "hf":
        return _from_hub(more, search)
    try:
        return _at_path(spec, Path(spec).expanduser())
    except OSError as problem:  # a name that is too long, a folder that may not be entered
        raise DataError(f'cannot read "{spec}": {problem.strerror or problem}') from None


def _at_path(spec: str, path: Path) -> Source:
    if path.is_dir():
        return Source(path.resolve().name, text_files_in(path))
    if path.exists():
        return Source(path.stem, (checked(path),))
    if path.is_symlink():
        raise NotHereError(f'"{spec}" is a link that leads nowhere; name the file itself')
    if glob.has_magic(spec):
        return Source(path.parent.name if not glob.has_magic(path.parent.name) else "", text_files_matching(path))
    raise _not_found(spec, path)


def _standard_library() -> tuple[Path, ...]:
    return text_files_in(Path(sysconfig.get_path("stdlib")), without=NO_SOURCES, endings=(".py",))


def _tinyshakespeare(search: Search) -> Path:
    base = os.environ.get("GLASSGPT_MIRROR") or MIRROR
    remote = Remote(f"{base.rstrip('/')}/{SHAKESPEARE_PATH}", SHAKESPEARE_SHA256, SHAKESPEARE_BYTES)
    return fetch(
        remote,
        search.cache / "downloads" / "tinyshakespeare.txt",
        progress=lambda done, size: search.tell("downloading", done / size),
        hurried=search.hurried,
    )


def _wikitext(search: Search) -> Source:
    train, val = here = tuple(map(Path, WIKITEXT_FILES))
    if train.is_file() and val.is_file():
        note = f"wikitext-103: {train} and {val} of this folder are used"
        return Source("wikitext-103", (checked(train),), val_files=(checked(val),), note=note)
    source = _from_rows("wikitext-103", WIKITEXT, search)
    alone = next((path for path in here if path.is_file()), None)
    return replace(source, note=f"{alone} lies here without its pair and was left alone" if alone else "")


def _from_hub(what: str, search: Search) -> Source:
    """`hf:NAME`, `hf:NAME:CONFIG`, `hf:FOLDER`."""
    name, colon, config = (what, "", "") if Path(what).expanduser().is_dir() else what.partition(":")
    if not name or (colon and not config):
        raise DataError(f'"hf:{what}" names no data set; write it like hf:NAME or hf:NAME:CONFIG')
    if not Path(name).expanduser().is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise DataError(f'"hf:{what}": there is no folder "{name}", and a data set of the hub is named like OWNER/NAME')
    wanted = Wanted(name=name, config=config or None, column=search.text_column)
    short = Path(name).expanduser().resolve().name if wanted.is_folder else name.rpartition("/")[2]
    return _from_rows(f"{short}-{config}" if config else short, wanted, search)


def _from_rows(name: str, wanted: Wanted, search: Search) -> Source:
    kept = keep_rows(wanted, search.cache / "hub", tell=search.tell, hurried=search.hurried)
    return Source(name, kept.train, val_files=kept.val, framed=frozenset({*kept.train, *kept.val}))


def _size_bytes(spec: str, size: str) -> int:
    """`_size_bytes("tales:1.5MB", "1.5MB") == 1_500_000`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]?B)?", size.strip().upper())
    size_bytes = int(float(match[1]) * UNITS[match[2] or ""]) if match else 0
    if size_bytes < 1:
        raise DataError(f'"{spec}": {size!r} is no size; write it like tales:10MB')
    return size_bytes


def _not_found(spec: str, path: Path) -> NotHereError:
    names = [named.name for named in list_named()]
    with contextlib.suppress(OSError):
        names += [str(beside) for beside in path.parent.iterdir()]
    return NotHereError(
        f'no file, folder or named text "{spec}"{did_you_mean(spec, names)} (`glassgpt data list` shows the names)'
    )


def _fit_for_a_folder(name: str) -> str:
    short = re.sub(r"[^\w.-]+", "-", name).encode("utf-8")[:LONGEST_NAME_BYTES].decode("utf-8", "ignore")
    return short.strip("-.") or "text"
