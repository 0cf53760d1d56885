"""A benchmark packed into a folder of its own: the images as they are, captions, a manifest.

manifest.json            what is here and where it came from, with the sha256 of every file; written
                         last
captions.jsonl           {"image", "captions"} per line; captions/<subset>.jsonl when the benchmark
                         has several subsets
images/<image id>        the original bytes; an id that is no plain file name becomes its hash

All captions are packed as they were written, so rows that differ in their protocol alone share a
folder. Ids stay what they are in the source: --limit chooses by them, and runs are compared by
them.
"""

import importlib.metadata
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from evals.config.catalog import Benchmark, Captions
from evals.data import check_counts, load
from evals.data.manifest import (
    MANIFEST,
    UNFINISHED,
    File,
    Manifest,
    Packed,
    Plan,
    Progress,
    as_json,
    check_folder,
    has_content,
    place_of,
    read_manifest,
    read_plan,
)
from evals.data.packing import Image, check_images, images_of, plan_images
from evals.files import write_atomically
from evals.schema import ConfigError, ImageText, MissingError, Source

# Of a file system: what a small file takes.
BLOCK = 4096


def prepare(
    row: Benchmark, source: Source, folder: Path, *, allow_subset: bool, progress: Progress
) -> Manifest:
    """Pack the subsets that `source` names, and those that are packed there already.

    A finished folder is only checked. Run again after a kill it goes on, and keeps every file that
    has the right bytes. ConfigError when the folder is for another source; InvalidError for images
    that cannot be decoded and counts that are not the row's; MissingError when the disk is full.
    """
    if row.data == "scenes":
        raise ConfigError(f"{row.name} is bundled and needs no preparing. Leave it out.")
    if row.task == "classification":
        raise ConfigError(
            f"{row.name}: only captioned images are packed. Copy the files of its webdataset, or "
            "its class folders, as they are: --data takes both."
        )
    with _alone(folder):
        plan = _plan_of(folder, source)
        # What a killed process was writing; no other process is at work here.
        for leftover in folder.rglob(".*.part"):
            leftover.unlink()
        packed = plan.subsets if plan else ()
        subsets = tuple(dict.fromkeys((*packed, *source.subsets)))
        if plan and read_plan(folder) is None and subsets == packed:
            manifest = read_manifest(folder)
            if allow_subset or not any(packed.partial for packed in manifest.subsets.values()):
                return check_folder(folder, progress)
        if plan and source.repo and not source.folder:
            # The commit that was the newest when the folder was begun.
            source = replace(source, revision=plan.source["revision"])
        return _pack(row, replace(source, subsets=subsets), folder, allow_subset, progress)


def _pack(
    row: Benchmark, source: Source, folder: Path, allow_subset: bool, progress: Progress
) -> Manifest:
    parts = load(row.data, source)
    plan = Plan(
        benchmark=row.name, source=_place(source) | _commit(parts, source), subsets=tuple(parts)
    )
    partial = {
        subset: _is_partial(row, subset, data, allow_subset) for subset, data in parts.items()
    }
    source_images = images_of(parts)
    # Before anything is written: a folder with a broken image in it would be of no use.
    check_images(source_images, progress)
    images = plan_images(parts, source_images, progress)
    captions = {_captions_file(row, subset): _lines(data, images) for subset, data in parts.items()}
    missing = [
        image for image in images.values() if not has_content(folder / image.file, image.content)
    ]
    sizes = [image.content.bytes for image in missing] + list(map(len, captions.values()))
    _refuse_full_disk(folder, sizes)

    # From here until the manifest is written, `verify` and the next `prepare` see an unfinished
    # folder.
    folder.mkdir(exist_ok=True)
    write_atomically(folder / UNFINISHED, as_json(plan))
    with progress(f"write {row.name}") as report:
        for number, image in enumerate(missing, 1):
            _write(folder / image.file, source_images.stored(image.place))
            report(number, len(missing))
    for name, data in captions.items():
        _write(folder / name, data)
    subsets = {
        subset: _packed(data, _captions_file(row, subset), partial[subset])
        for subset, data in parts.items()
    }
    files = {image.file: image.content for image in images.values()}
    files |= {name: _file(data) for name, data in captions.items()}
    manifest = Manifest(
        schema_version=1,
        benchmark=row.name,
        source=plan.source,
        subsets=subsets,
        made_by=f"jina-clip-evals {importlib.metadata.version('jina-clip-evals')}",
        prepared=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        files=files,
    )
    write_atomically(folder / MANIFEST, as_json(manifest))
    (folder / UNFINISHED).unlink()
    return manifest


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder for this process alone."""
    from filelock import FileLock, Timeout

    # Beside the folder: a lock in it would be one more file than the manifest has.
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.parent / f".{folder.name}.lock", timeout=0):
            yield
    except Timeout:
        raise MissingError(
            f"{folder}: another process prepares it now. Wait for its end."
        ) from None


def _plan_of(folder: Path, source: Source) -> Plan | None:
    """What the folder is for; None for a new one.

    ConfigError when it is for something else, or holds what was not prepared.
    """
    plan = read_plan(folder)
    if plan is None and (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        plan = Plan(
            benchmark=manifest.benchmark, source=manifest.source, subsets=tuple(manifest.subsets)
        )
    if plan is None:
        _refuse_foreign(folder)
        return None
    place = _place(source)
    if any(plan.source.get(key) != value for key, value in place.items()):
        raise ConfigError(
            f"{folder}: holds {plan.benchmark}, split {plan.source.get('split')}, "
            f"{place_of(plan.source)}, which is not what is asked for now "
            f"({', '.join(place.values())}). Choose another --to, or remove the folder."
        )
    return plan


def _refuse_foreign(folder: Path) -> None:
    """ConfigError for a folder in which something lies that was not prepared."""
    if not folder.exists():
        return
    # All that is there when a process is killed before the first file is whole.
    begun = f".{UNFINISHED}*.part"
    if not folder.is_dir() or any(not path.match(begun) for path in folder.iterdir()):
        raise ConfigError(
            f"{folder}: is there, and was not prepared by this command. "
            "Choose another --to, or remove it."
        )


def _place(source: Source) -> dict[str, str]:
    """What is known of a source before it is loaded."""
    if source.folder is not None:
        return {"path": str(source.folder.expanduser().resolve()), "split": source.split}
    # A row without a revision means the newest commit, which any folder may hold.
    place = {"repo": source.repo, "revision": source.revision, "split": source.split}
    return {key: value for key, value in place.items() if value}


def _commit(parts: Mapping[str, ImageText], source: Source) -> dict[str, str]:
    if source.folder is not None:
        return {}
    return {"revision": next(iter(parts.values())).origin["revision"]}


def _is_partial(row: Benchmark, subset: str, data: ImageText, allow_subset: bool) -> bool:
    """Whether less is packed than the row declares.

    All captions are packed, so their number is the row's where its protocol takes all of them.
    """
    counts = row.counts(subset) if row.protocol == Captions() else {"images": row.images}
    return check_counts(data, **counts, allow_subset=allow_subset, name=f"{row.name} {subset}")


def _captions_file(row: Benchmark, subset: str) -> str:
    return "captions.jsonl" if len(row.subsets) == 1 else f"captions/{subset}.jsonl"


def _lines(data: ImageText, images: Mapping[str, Image]) -> bytes:
    """The images of a subset with their captions, both in their order."""
    captions: list[list[str]] = [[] for _ in data.images.ids]
    for text, image in zip(data.texts.items, data.image_of_text.tolist(), strict=True):
        captions[image].append(text)
    entries = (
        {"image": images[name].name, "captions": texts}
        for name, texts in zip(data.images.ids, captions, strict=True)
    )
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


def _packed(data: ImageText, captions: str, partial: bool) -> Packed:
    return Packed(
        origin=dict(data.origin),
        images=len(data.images),
        texts=len(data.texts),
        captions=captions,
        partial=partial,
    )


def _refuse_full_disk(folder: Path, sizes: Sequence[int]) -> None:
    needed = sum(-(-size // BLOCK) * BLOCK for size in sizes)
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise MissingError(
            f"{folder}: needs {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free. "
            "Make room, or choose another --to."
        )


def _file(data: bytes) -> File:
    return File(sha256=sha256(data).hexdigest(), bytes=len(data))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
