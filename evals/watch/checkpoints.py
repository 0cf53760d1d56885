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
# A Trainer that was given no processor saves the model without them.
BESIDE = ("tokenizer.json", "preprocessor_config.json")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
CLOCKS = 60  # seconds that the clocks of two machines may differ
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
    by_step: dict[int, Checkpoint] = {}
    for checkpoint in complete_checkpoints(folder, kinds, settle=settle):
        by_step.setdefault(checkpoint.step, checkpoint)
    return [by_step[step] for step in sorted(by_step)]


def complete_checkpoints(folder: Path, kinds: Kinds, *, settle: float) -> list[Checkpoint]:
    """All complete checkpoints by their paths, those that have a step in common, too."""
    complete = []
    for path in sorted(_candidates(folder)):
        step = step_of(path)
        if step is not None and obstacle(path, kinds, settle=settle) is None:
            complete.append(Checkpoint(step, path, _spec(path, kinds)))
    return complete


def obstacles(folder: Path, kinds: Kinds, *, settle: float) -> dict[Path, str]:
    """What looks like a checkpoint and is none yet, and why."""
    reasons = {}
    for path in sorted(_candidates(folder)):
        reason = obstacle(path, kinds, settle=settle)
        if reason is None and step_of(path) is None:
            reason = "its name has no number, which would be its step"
        if reason is not None:
            reasons[path] = reason
    return reasons


def step_of(path: Path) -> int | None:
    """500 of `checkpoint-500`, 3 of `epoch_3.pt`."""
    numbers = _NUMBERS.findall(path.stem if path.is_file() else path.name)
    return int(numbers[-1]) if numbers else None


def _candidates(folder: Path) -> Iterator[Path]:
    """Folders that hold a file by which a checkpoint is known, and open_clip's files."""
    for depth in range(1, DEPTH + 1):
        # A glob per depth: `**` would also walk through folders of logs with millions of files.
        for path in folder.glob("/".join(["*"] * depth)):
            # Writers of whole files build them under names with a dot, and rename them.
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue
            # What lies in a checkpoint, as the optimizer's state does, is a part of it.
            if any(_kind_of(parent) for parent in path.parents if folder in parent.parents):
                continue
            if _kind_of(path) if path.is_dir() else path.suffix == ".pt":
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


def _spec(path: Path, kinds: Kinds) -> str:
    """What `--model` calls it."""
    if path.is_file():
        return f"open_clip:{kinds.arch}/{path.absolute()}"
    kind = _kind_of(path)
    if kind == "sentence_transformers":
        return f"st:{path.absolute()}"
    return f"{kinds.base}{ADAPTER}{path.absolute()}" if kind == "adapter" else str(path.absolute())


def obstacle(path: Path, kinds: Kinds, *, settle: float, now: float | None = None) -> str | None:
    """Why a checkpoint cannot be measured yet, in words; None when it can.

    Its kind may need a word of the user's; a file may be missing or half written; and nobody may
    have written to any of them for `settle` seconds.
    """
    if path.is_file() and kinds.arch is None:
        return "a file of open_clip needs --arch"
    if path.is_dir() and _kind_of(path) == "adapter" and kinds.base is None:
        return "an adapter needs its model: --base"
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    try:
        newest = max(file.stat().st_mtime for file in files)
    # A trainer that keeps the last three removes one while it is looked at.
    except (OSError, ValueError):
        return "it is being removed"
    # Whether all are there before whether each is whole: the latter reads headers of gigabytes.
    missing = [] if path.is_file() else _missing(path)
    if missing:
        return f"{', '.join(missing)} is missing"
    broken = [file.name for file in files if not _is_whole(file)]
    if broken:
        return f"{', '.join(sorted(broken))} is not whole"
    age = (time.time() if now is None else now) - newest
    # Clocks of two machines differ by seconds: that passes while it is waited for.
    if age < -CLOCKS:
        return (
            f"it was written {-age:,.0f} seconds in the future, so nobody knows whether it is at "
            "rest. Set the clock, or touch its files"
        )
    if age < settle:
        return f"it was written to less than {settle:g} seconds ago"
    return None


def _missing(folder: Path) -> list[str]:
    """What the folder itself, or its kind, says it should have and has not."""
    kind = _kind_of(folder)
    # PEFT writes its config last, and the weights before it; a copy has no order.
    names = list(ADAPTER_FILES)
    if kind == "sentence_transformers":
        names = _modules(folder)
    elif kind == "jina_clip":
        names = [*(_shards(folder) or [WEIGHTS]), *BESIDE]
    return sorted(name for name in names if not (folder / name).exists())


def _modules(folder: Path) -> list[str]:
    """The folder of the first module, as the library lists them."""
    try:
        # Normalize has no files, and older releases of the library make no folder for it.
        return [str(read_json(folder / "modules.json")[0]["path"] or ".")]
    except (EvalError, TypeError, KeyError, IndexError):
        return ["a readable modules.json"]


def _shards(folder: Path) -> set[str] | None:
    """The files that an index names; None without an index."""
    if not (folder / INDEX).is_file():
        return None
    try:
        return set(read_json(folder / INDEX)["weight_map"].values())
    # Half written: one more name, which is not there, says that it is not complete.
    except (EvalError, TypeError, KeyError, AttributeError):
        return {f"a readable {INDEX}"}


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
