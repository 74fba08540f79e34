"""Data sets of the Hugging Face hub, and folders like them: which files they are made of, which text is in a file.

The package `datasets` knows how the files of a set are named, split and read; we fetch them ourselves, checked and
resumed (`download`). What is kept of the rows is decided in `rows`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from glassgpt.data.answer import WAY_OUT, WORTH_WAITING, Interrupted, Remote
from glassgpt.data.download import HURRIED_TIMEOUT_S, PAUSES_S, TIMEOUT_S, patiently
from glassgpt.errors import DataError, DownloadError, MissingExtraError, did_you_mean

BATCH_ROWS = 1000  # read at once: a few megabytes of most texts
HELD_OUT = ("validation", "valid", "val", "dev")  # what people call the split that is not trained on
PATHS_AT_ONCE = 500
Shard: TypeAlias = "Path | Remote"


@dataclass(frozen=True)
class DataSet:
    """A set at one state of its history: its files, split by split, and the builder that reads them."""

    name: str
    revision: str
    splits: Mapping[str, tuple[Shard, ...]]  # "train", and "val" where the set has such a split
    builder: Any

    def rows(self, file: Path, column: str) -> Iterator[str]:
        """The texts of one file that lies here."""
        try:
            yield from self._rows(file, column)
        except DataError:
            raise
        except OSError as problem:
            raise _unreadable(file, problem) from None
        except Exception as problem:  # whatever a damaged file makes a reader say
            raise _unreadable(file, problem) from None

    def _rows(self, file: Path, column: str) -> Iterator[str]:
        builder = self.builder
        builder.config.data_files = {"train": [str(file)]}
        if hasattr(builder.config, "batch_size"):  # else whole row groups, however large
            builder.config.batch_size = BATCH_ROWS
        rows = builder.as_streaming_dataset("train")
        columns = rows.column_names or list(next(iter(rows), {}))
        if column not in columns:
            raise DataError(
                f"{self.name} has no column {column!r}{did_you_mean(column, columns)}; "
                f"its columns are: {', '.join(columns)} (--text-column NAME)"
            )
        for batch in rows.select_columns([column]).iter(batch_size=BATCH_ROWS):
            for text in batch[column]:
                if text is not None:
                    yield _checked(text, self.name, column)


def find_dataset(name: str, config: str | None, *, hurried: bool = False) -> DataSet:
    """A set on the hub, or in a folder here."""
    datasets = quiet_datasets()
    if Path(name).expanduser().is_dir():
        return _in_folder(datasets, Path(name).expanduser(), config)
    from huggingface_hub import HfApi, constants

    api = HfApi()
    host = urlsplit(constants.ENDPOINT).netloc
    timeout_s = HURRIED_TIMEOUT_S if hurried else TIMEOUT_S

    def ask() -> DataSet:
        with _explained(name):
            sha = str(api.dataset_info(name, timeout=timeout_s).sha)
            builder = datasets.load_dataset_builder(name, config, revision=sha)
            splits = _splits(name, builder.config.data_files)
            remotes = _remotes(api, name, sha, [path for paths in splits.values() for path in paths])
            shards = {split: tuple(remotes[path] for path in paths) for split, paths in splits.items()}
            return DataSet(name, sha, shards, builder)

    return patiently(ask, what=f"{name} from {host}", host=host, pauses_s=PAUSES_S, hurried=hurried)


def quiet_datasets() -> Any:
    """The package, told not to draw, chat or count users."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        datasets, hub = import_module("datasets"), import_module("huggingface_hub.utils")
    except ImportError:
        raise MissingExtraError("datasets", "hub") from None
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    hub.disable_progress_bars()
    hub.logging.set_verbosity_error()
    return datasets


def _in_folder(datasets: Any, folder: Path, config: str | None) -> DataSet:
    with _explained(str(folder)):
        builder = datasets.load_dataset_builder(str(folder), config)
        splits = _splits(str(folder), builder.config.data_files)
    files = {split: tuple(map(Path, paths)) for split, paths in splits.items()}
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for part in files.values() for file in part]
    revision = hashlib.sha256(json.dumps(states).encode()).hexdigest()
    return DataSet(str(folder), revision, files, builder)


def _splits(name: str, data_files: Any) -> dict[str, list[str]]:
    """The paths for training, and those held out."""
    found = {str(split): list(map(str, paths)) for split, paths in (data_files or {}).items()}
    train = "train" if "train" in found else next(iter(found), "") if len(found) == 1 else ""
    if not train:
        raise DataError(f"{name} has no split named train: it has {', '.join(found) or 'none at all'}")
    val = next((split for split in HELD_OUT if split in found and split != train), None)
    return {"train": found[train]} | ({"val": found[val]} if val else {})


def _remotes(api: Any, name: str, sha: str, paths: list[str]) -> dict[str, Remote]:
    """Where each file is and what it must be; `hf://datasets/NAME@SHA/data/x.parquet` is how the package calls it."""
    from huggingface_hub import get_token, hf_hub_url

    token = get_token()
    authorization = f"Bearer {token}" if token else ""
    inside = {path: path.split(f"{name}@{sha}/", 1)[-1] for path in paths}
    places, remotes = list(inside.values()), {}
    for start in range(0, len(places), PATHS_AT_ONCE):
        for file in api.get_paths_info(name, places[start : start + PATHS_AT_ONCE], revision=sha, repo_type="dataset"):
            url = hf_hub_url(name, file.path, repo_type="dataset", revision=sha)
            digest = file.lfs.sha256 if file.lfs else f"git:{file.blob_id}"
            remotes[file.path] = Remote(url, digest, file.size, authorization)
    if lost := [place for place in places if place not in remotes]:
        raise DataError(f"{name} names {lost[0]}, and has no such file")
    return {path: remotes[place] for path, place in inside.items()}


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """What other packages raise, as ours: what may pass, what another text would help against, what is a mistake."""
    try:
        yield
    except (DataError, Interrupted):
        raise
    except Exception as problem:
        kinds = {kind.__name__ for kind in type(problem).__mro__}
        status = getattr(getattr(problem, "response", None), "status_code", 0)
        reason = " ".join(str(problem).split())[:300] or type(problem).__name__
        if status in WORTH_WAITING:
            raise Interrupted(f"the server says {status}") from None
        if "OfflineModeIsEnabled" in kinds or os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes"}:
            raise _not_fetched(name, "HF_HUB_OFFLINE forbids asking") from None
        if kinds & {"ConnectError", "ConnectTimeout", "ConnectionError"}:
            raise Interrupted(reason, unreachable=True) from None
        if kinds & {"TransportError", "Timeout", "RequestException"}:
            raise Interrupted(reason) from None
        if "JSONDecodeError" in kinds:
            raise _not_fetched(name, "the answer is no data (a login page or a proxy?)") from None
        if status in {401, 403, 404} or "DatasetNotFoundError" in kinds:
            raise DataError(
                f"the hub has no data set {name!r} that is open to you; check the name, or run `hf auth login`"
            ) from None
        if status:
            raise _not_fetched(name, f"the server says {status}") from None
        raise DataError(f"{name}: {reason}") from None  # a configuration that it does not have, a folder without data


def _not_fetched(name: str, why: str) -> DownloadError:
    return DownloadError(f"cannot fetch {name}: {why}; {WAY_OUT}", brief=why)


def _unreadable(file: Path, problem: Exception) -> DataError:
    reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
    return DataError(f'cannot read the rows of "{file}" ({reason[:150]}); is it damaged?')


def _checked(text: Any, name: str, column: str) -> str:
    if not isinstance(text, str):
        raise DataError(f"column {column!r} of {name} holds {type(text).__name__}, not text; choose another one")
    return text
