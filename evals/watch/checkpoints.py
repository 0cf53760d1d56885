"""The checkpoints in a folder of a training run, each by its step, once all of its files are whole.

Known are jina-clip (one file or shards), its PEFT adapters, sentence-transformers, and open_clip's
files; and so are Trainer's `checkpoint-N` folders, which hold one of these. A trainer writes while
we look: a file counts once it is as long as it says itself, and has not been touched for a while.
"""

import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from evals.config.models import ADAPTER
from evals.reading import read_json
from evals.schema import EvalError

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_NUMBERS = re.compile(r"\d+")
# Deepest folder below the run's own that is looked at: logs/RUN/checkpoints/epoch_1.pt.
DEPTH = 3


class Checkpoint(NamedTuple):
    """One checkpoint: its step, its folder or file, and what `--model` calls it."""

    step: int
    path: Path
    spec: str


class Kinds(NamedTuple):
    """What a folder cannot say itself: the base model of adapters, the architecture of open_clip."""

    base: str | None = None
    arch: str | None = None


def find_checkpoints(folder: Path, kinds: Kinds, *, settle: float = 5.0) -> list[Checkpoint]:
    """The complete checkpoints of a folder by their steps.

    The step is the last number in the name of the folder or file; without one it is none of a
    series, and is left out. `settle` is how many seconds nothing may have changed in it. Of two with
    one step the first by its path is taken.
    """
    checkpoints: dict[int, Checkpoint] = {}
    for path in sorted(_candidates(folder, kinds)):
        step = step_of(path)
        if step is None or step in checkpoints:
            continue
        spec = _spec(path, kinds)
        if spec is not None and is_complete(path, settle=settle):
            checkpoints[step] = Checkpoint(step, path, spec)
    return [checkpoints[step] for step in sorted(checkpoints)]


def step_of(path: Path) -> int | None:
    """500 of `checkpoint-500`, 3 of `epoch_3.pt`."""
    numbers = _NUMBERS.findall(path.stem if path.is_file() else path.name)
    return int(numbers[-1]) if numbers else None


def _candidates(folder: Path, kinds: Kinds) -> Iterator[Path]:
    """Folders that hold a file by which a checkpoint is known, and open_clip's files."""
    for depth in range(1, DEPTH + 1):
        # A glob per depth: `**` would also walk through folders of logs with millions of files.
        for path in folder.glob("/".join(["*"] * depth)):
            # Writers of whole files build them under names with a dot, and rename them.
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if hidden:
                continue
            if (path.is_dir() and _kind_of(path) is not None) or (
                kinds.arch and path.suffix == ".pt" and path.is_file()
            ):
                yield path


def _kind_of(folder: Path) -> str | None:
    if (folder / "modules.json").is_file():
        return "sentence_transformers"
    # Before the model: Trainer leaves the base model's config beside an adapter.
    if (folder / ADAPTER_FILES[0]).is_file():
        return "adapter"
    if (folder / "config.json").is_file():
        return "jina_clip"
    return None


def _spec(path: Path, kinds: Kinds) -> str | None:
    """What `--model` calls it; None where the kind needs a word that was not given."""
    if path.is_file():
        return f"open_clip:{kinds.arch}/{path.absolute()}"
    kind = _kind_of(path)
    if kind == "sentence_transformers":
        return f"st:{path.absolute()}"
    if kind == "adapter":
        return f"{kinds.base}{ADAPTER}{path.absolute()}" if kinds.base else None
    return str(path.absolute())


def is_complete(path: Path, *, settle: float, now: float | None = None) -> bool:
    """Whether all files are there and whole, and nobody has written to any for `settle` seconds."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    try:
        newest = max(file.stat().st_mtime for file in files)
    # A trainer that keeps the last three removes one while it is looked at.
    except (OSError, ValueError):
        return False
    if (time.time() if now is None else now) - newest < settle:
        return False
    # Whether all are there before whether each is whole: the latter reads headers of gigabytes.
    if path.is_dir() and not _has_all_files(path):
        return False
    return all(_is_whole(file) for file in files)


def _has_all_files(folder: Path) -> bool:
    """Whether nothing is missing that the folder itself, or its kind, says it should have."""
    kind = _kind_of(folder)
    # PEFT writes its config last, and the weights before it; a copy has no order.
    if kind == "adapter":
        return all((folder / name).is_file() for name in ADAPTER_FILES)
    if kind == "sentence_transformers":
        return _has_modules(folder)
    indexed = _shards(folder)
    if indexed is not None:
        return all((folder / name).is_file() for name in indexed)
    return all((folder / name).is_file() for name in (WEIGHTS, "tokenizer.json"))


def _has_modules(folder: Path) -> bool:
    """The folders of all modules, as the library lists them."""
    try:
        modules = read_json(folder / "modules.json")
        places = [folder / module["path"] for module in modules]
    except (EvalError, TypeError, KeyError):
        return False
    # Normalize has no files, and older releases of the library make no folder for it.
    return all(place.is_dir() for place in places[:1])


def _shards(folder: Path) -> set[str] | None:
    """The files that an index names; None without an index."""
    if not (folder / INDEX).is_file():
        return None
    try:
        return set(read_json(folder / INDEX)["weight_map"].values())
    # Half written: one more name, which is not there, says that it is not complete.
    except (EvalError, TypeError, KeyError, AttributeError):
        return {f"{INDEX}.unreadable"}


def _is_whole(file: Path) -> bool:
    """Whether a file is as long as it says itself; a file that says nothing of it is."""
    if file.suffix == ".safetensors":
        return _safetensors_is_whole(file)
    # torch writes a zip, whose directory stands at the end and is written last.
    if file.suffix in (".pt", ".pth"):
        return zipfile.is_zipfile(file)
    if file.suffix == ".json":
        try:
            json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            return False
    return True


def _safetensors_is_whole(file: Path) -> bool:
    """8 bytes with the header's length, the header, and the tensors up to the last offset in it."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            if length > size:
                return False
            header = json.loads(stream.read(length))
            offsets = [
                entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
            ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return bool(size == 8 + length + max(offsets, default=0))
