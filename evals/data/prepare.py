"""A benchmark packed into a folder of its own: the images as they are, their captions as JSON lines, and a manifest.

manifest.json            what is here and where it came from, with the sha256 of every file; written last
captions.jsonl           {"image", "captions"} a line; captions/<subset>.jsonl when the benchmark has several subsets
images/<image id>        the original bytes; an id that is no plain file name is replaced by its hash

All captions are packed as they were written, so rows that differ in their protocol alone share a folder. Ids stay what they
are in the source: --limit chooses by them, and runs are compared by them.
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
from typing import Any, NamedTuple

from evals.config.catalog import Benchmark, Captions
from evals.data import check_counts, load
from evals.data.filenames import place_for
from evals.data.images import Images, verify
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
from evals.files import write_atomically
from evals.schema import ConfigError, ImageText, MissingError, Selection, Source

BLOCK = 4096  # of a file system: what a small file takes
AT_ONCE = 256  # images between two reports of progress


class Image(NamedTuple):
    """An image to pack: `file` relative to the folder, `name` what its line of captions says, `at` its place in the source."""

    file: str
    name: str
    at: int
    content: File


def prepare(
    row: Benchmark, source: Source, folder: Path, *, allow_subset: bool, progress: Progress
) -> Manifest:
    """Pack the subsets that `source` names, and those that are packed there already; a finished folder is only checked.

    Run again after a kill it goes on, and keeps every file that has the right bytes. ConfigError when the folder is for another
    source; InvalidError for images that cannot be decoded and counts that are not the row's; MissingError when the disk is full.
    """
    if row.data == "scenes":
        raise ConfigError(f"{row.name} is bundled and needs no preparing. Leave it out.")
    if row.task == "classification":
        raise ConfigError(
            f"{row.name}: only captioned images are packed. Copy the files of its webdataset, or its class folders, as they are: "
            "--data takes both."
        )
    with _alone(folder):
        known = _known(folder, source)
        for left_over in folder.rglob(".*.part"):  # of a killed process
            left_over.unlink()
        subsets = tuple(dict.fromkeys((*(known.subsets if known else ()), *source.subsets)))
        if known and read_plan(folder) is None and subsets == known.subsets:
            manifest = read_manifest(folder)
            if allow_subset or not any(packed.partial for packed in manifest.subsets.values()):
                return check_folder(folder, progress)
        if (
            known and source.repo and not source.folder
        ):  # the commit that was resolved when it was begun
            source = replace(source, revision=known.source["revision"])
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
    every = _every(parts)
    _verify(every, progress)
    images = _plan_images(parts, every, progress)
    captions = {_captions_file(row, subset): _lines(data, images) for subset, data in parts.items()}
    missing = [
        image for image in images.values() if not has_content(folder / image.file, image.content)
    ]
    _refuse_full_disk(
        folder,
        [image.content.bytes for image in missing] + [len(data) for data in captions.values()],
    )

    folder.mkdir(exist_ok=True)
    write_atomically(folder / UNFINISHED, as_json(plan))
    with progress(f"write {row.name}") as report:
        for n, image in enumerate(missing, 1):
            _write(folder / image.file, every.read(image.at))
            report(n, len(missing))
    for name, data in captions.items():
        _write(folder / name, data)
    manifest = Manifest(
        schema_version=1,
        benchmark=row.name,
        source=plan.source,
        subsets={
            subset: _packed(data, _captions_file(row, subset), partial[subset])
            for subset, data in parts.items()
        },
        made_by=f"jina-clip-evals {importlib.metadata.version('jina-clip-evals')}",
        prepared=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        files={image.file: image.content for image in images.values()}
        | {name: _file(data) for name, data in captions.items()},
    )
    write_atomically(folder / MANIFEST, as_json(manifest))
    (folder / UNFINISHED).unlink()
    return manifest


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder for this process alone."""
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.parent / f".{folder.name}.lock", timeout=0):
            yield
    except Timeout:
        raise MissingError(
            f"{folder}: another process prepares it now. Wait for its end."
        ) from None


def _known(folder: Path, source: Source) -> Plan | None:
    """What the folder is for; ConfigError when that is something else, or nothing that was prepared."""
    plan = read_plan(folder)
    if plan is None and (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        plan = Plan(
            benchmark=manifest.benchmark, source=manifest.source, subsets=tuple(manifest.subsets)
        )
    if plan is None:
        begun = f".{UNFINISHED}.*.part"  # killed before the first file was whole
        if folder.exists() and (
            not folder.is_dir() or any(not path.match(begun) for path in folder.iterdir())
        ):
            raise ConfigError(
                f"{folder}: is there, and was not prepared by this command. Choose another --to, or remove it."
            )
        return None
    if any(plan.source.get(key) != value for key, value in _place(source).items()):
        raise ConfigError(
            f"{folder}: holds {plan.benchmark}, split {plan.source.get('split')}, {place_of(plan.source)}, which is not what is "
            f"asked for now ({', '.join(_place(source).values())}). Choose another --to, or remove the folder."
        )
    return plan


def _place(source: Source) -> dict[str, str]:
    """What is known of a source before it is loaded."""
    if source.folder is not None:
        return {"path": str(source.folder.expanduser().resolve()), "split": source.split}
    known = {"repo": source.repo, "revision": source.revision, "split": source.split}
    return {key: value for key, value in known.items() if value}


def _commit(parts: Mapping[str, ImageText], source: Source) -> dict[str, str]:
    return (
        {"revision": next(iter(parts.values())).origin["revision"]} if source.folder is None else {}
    )


def _is_partial(row: Benchmark, subset: str, data: ImageText, allow_subset: bool) -> bool:
    """All captions are packed, so their number is the row's where its protocol takes all of them."""
    counts = row.counts(subset) if row.protocol == Captions() else {"images": row.images}
    return check_counts(data, **counts, allow_subset=allow_subset, name=f"{row.name} {subset}")


def _every(parts: Mapping[str, ImageText]) -> Images:
    """The images of all subsets, each once, in the order of `_ids`."""
    places = []
    for data in parts.values():
        for i in range(len(data.images)):
            items: Any = data.images.items
            index = i
            while isinstance(items, Selection):
                items, index = items.items, items.indices[index]
            places.append((data.images.ids[i], items, index))
    distinct = {name: (items, index) for name, items, index in reversed(places)}
    found = [distinct[name] for name in _ids(parts)]
    return Images(
        [items.names[i] for items, i in found], lambda at: found[at][0].read(found[at][1])
    )


def _ids(parts: Mapping[str, ImageText]) -> dict[str, str]:
    """The content hash of every image by its id."""
    return {
        name: content
        for data in parts.values()
        for name, content in zip(data.images.ids, data.images.hashes, strict=True)
    }  # fmt: skip


def _verify(images: Images, progress: Progress) -> None:
    with progress("check images") as report:
        for start in range(0, len(images), AT_ONCE):
            some = range(start, min(start + AT_ONCE, len(images)))
            verify(images, some)
            report(some.stop, len(images))


def _plan_images(
    parts: Mapping[str, ImageText], every: Images, progress: Progress
) -> dict[str, Image]:
    """Where each image goes, by its id."""
    images, used = {}, set[str]()
    with progress("plan images") as report:
        for at, (name, content) in enumerate(_ids(parts).items()):
            data = every.read(at)
            images[name] = Image(
                *place_for(name, data, used), at, File(sha256=content, bytes=len(data))
            )
            report(at + 1, len(every))
    return images


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
    needed, free = (
        sum(-(-size // BLOCK) * BLOCK for size in sizes),
        shutil.disk_usage(folder.parent).free,
    )
    if needed > free:
        raise MissingError(
            f"{folder}: needs {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free. Make room, or choose another --to."
        )


def _file(data: bytes) -> File:
    return File(sha256=sha256(data).hexdigest(), bytes=len(data))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
