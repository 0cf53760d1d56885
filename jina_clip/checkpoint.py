"""The files of a checkpoint, read so that what was hashed is what is used.

A checkpoint is a folder with the official config.json, tokenizer.json and preprocessor_config.json,
and with its weights in model.safetensors or in the shards that model.safetensors.index.json lists.
A PEFT adapter in the same folder or in another one belongs to it where that is asked for.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from jina_clip.adapter import CONFIG as ADAPTER_CONFIG
from jina_clip.adapter import WEIGHTS as ADAPTER_WEIGHTS
from jina_clip.adapter import Adapter
from jina_clip.config import ClipConfig
from jina_clip.files import part_of, put_in_place
from jina_clip.official_json import CheckpointError, as_object, parse_object
from jina_clip.preprocess import Preprocess
from jina_clip.tokens import read_tokenizer

CONFIG, TOKENIZER, PREPROCESS = "config.json", "tokenizer.json", "preprocessor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER, PREPROCESS)
# What PEFT leaves in a folder. The weights beside it are those of the base model, without what was
# trained.
ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "adapter_model.bin")


class _Stamp(NamedTuple):
    """What changes when a file is replaced or written to."""

    device: int
    inode: int
    size: int
    modified: int


@dataclass(frozen=True)
class Checkpoint:
    """The files of one checkpoint folder, bound to their bytes once they were hashed.

    `weights` names the files that hold tensors, `index` the file that lists them where they are
    shards. `adapter` is the folder of a PEFT adapter that is merged into them. `sha256` has the
    hash of each file of a bound checkpoint, and is empty before that. Reading a bound file that
    holds other bytes by now raises CheckpointError with its name.
    """

    folder: Path
    weights: tuple[str, ...] = (WEIGHTS,)
    index: str | None = None
    adapter: Path | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def in_folder(cls, folder: Path, adapter: Path | None = None) -> "Checkpoint":
        """The checkpoint in a folder, with the PEFT adapter in another or the same one.

        FileNotFoundError names a file that is missing. CheckpointError when the folder does not say
        which weights are meant: an adapter beside them that is not the one to be merged, or a file
        and shards; and for an index that is none.
        """
        _check_adapter(folder, adapter)
        # transformers would take the file and never look at the shards; which are meant is not
        # known.
        sharded = (folder / INDEX).is_file()
        if sharded and (folder / WEIGHTS).is_file():
            raise CheckpointError(f"{folder}: has both {WEIGHTS} and {INDEX}. Remove the stale one")
        index = INDEX if sharded else None
        weights = _shards(folder / INDEX) if sharded else (WEIGHTS,)
        for name in (CONFIG, *weights, TOKENIZER, PREPROCESS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder / name} is missing; a checkpoint folder holds {', '.join(FILES)}, "
                    f"or {INDEX} and its shards for {WEIGHTS}"
                )
        return cls(folder, weights, index, adapter)

    @property
    def names(self) -> tuple[str, ...]:
        """All files that decide what the model computes."""
        index = (self.index,) if self.index else ()
        adapter = (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if self.adapter else ()
        return (CONFIG, TOKENIZER, PREPROCESS, *index, *self.weights, *adapter)

    def bound(self) -> "Checkpoint":
        """The same checkpoint, bound to the bytes that its files hold now; reads all of them."""
        return replace(self, sha256={name: _hash_file(self._path(name)) for name in self.names})

    @property
    def weights_sha256(self) -> str:
        """The identity of bound weights.

        It is the hash of the file; of shards, one over the hashes of the index and all of them.
        With an adapter it is one over the identity of the base and the hashes of the adapter.
        """
        base = (
            self.sha256[WEIGHTS] if self.index is None else self._hash_of(self.index, *self.weights)
        )
        if self.adapter is None:
            return base
        return self._hash_of(ADAPTER_CONFIG, ADAPTER_WEIGHTS, base=base)

    def _hash_of(self, *names: str, **hashes: str) -> str:
        """One hash over those of some files, by their names, and of what else is told."""
        parts = {name: self.sha256[name] for name in names} | hashes
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def config(self) -> ClipConfig:
        """What config.json says."""
        with self._named():
            return ClipConfig.from_dict(parse_object(self._read(CONFIG), CONFIG))

    def tokenizer(self) -> Tokenizer:
        """What tokenizer.json describes."""
        with self._named():
            return read_tokenizer(self._read(TOKENIZER), TOKENIZER)

    def preprocess(self) -> Preprocess:
        """What preprocessor_config.json describes."""
        with self._named():
            return Preprocess.from_dict(parse_object(self._read(PREPROCESS), PREPROCESS))

    def lora(self) -> Adapter | None:
        """The adapter that is merged into the weights."""
        if self.adapter is None:
            return None
        with self._named(self.adapter):
            return Adapter.from_bytes(self._read(ADAPTER_CONFIG), self._read(ADAPTER_WEIGHTS))

    def check_adapter(self, base: Mapping[str, tuple[int, ...]]) -> None:
        """CheckpointError, with the adapter's folder, where it does not fit weights of these shapes."""
        adapter = self.lora()
        if adapter is not None:
            with self._named(self.adapter):
                adapter.check_fit(base)

    @contextmanager
    def weight_files(self) -> Iterator[list[Path]]:
        """The files of the weights, to copy from: they must not change meanwhile.

        The check comes at the end, since only then it is known what was read: each path still leads
        to the file that it led to at the start, unmodified since, and a bound one has the bytes
        that were hashed. Size and time alone would be cheaper, and wrong where a clock is coarse,
        set back, or another machine's. The hash runs in a thread meanwhile.
        """
        if self.index is not None:
            with self._named():
                self._read(self.index)  # the names of the shards were taken from it
        paths = [self.folder / name for name in self.weights]
        stamps = [_stamp(path) for path in paths]
        with ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
            hashes = [pool.submit(_hash_file, path) for path in paths if self.sha256]
            try:
                yield paths
            except CheckpointError:
                self._check_unchanged(stamps, hashes)  # the likelier reason
                raise
            self._check_unchanged(stamps, hashes)

    def _check_unchanged(self, stamps: list[_Stamp], hashes: list[Future[str]]) -> None:
        paths = [self.folder / name for name in self.weights]
        replaced = [
            path for path, stamp in zip(paths, stamps, strict=True) if _stamp(path) != stamp
        ]
        if replaced:
            raise _changed(replaced[0])
        for path, sha256 in zip(paths, hashes, strict=False):  # none, unless it is bound
            if sha256.result() != self.sha256[path.name]:
                raise _changed(path)

    def _read(self, name: str) -> bytes:
        """A small file at once, so that what is hashed is what is parsed."""
        data = self._path(name).read_bytes()
        if self.sha256 and hashlib.sha256(data).hexdigest() != self.sha256[name]:
            raise _changed(Path(name))
        return data

    def _path(self, name: str) -> Path:
        folder = self.adapter if name in ADAPTER else self.folder
        return (folder or self.folder) / name

    @contextmanager
    def _named(self, folder: Path | None = None) -> Iterator[None]:
        """Errors of a file's content name the folder, too."""
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(f"{folder or self.folder}: {error}") from error


def _check_adapter(folder: Path, adapter: Path | None) -> None:
    """CheckpointError for an adapter that nobody asked for, FileNotFoundError for one without files."""
    beside = [folder / name for name in ADAPTER if (folder / name).exists()]
    asked_for = adapter is not None and adapter.resolve() == folder.resolve()
    if beside and not asked_for:
        alone = not (folder / WEIGHTS).exists() and not (folder / INDEX).exists()
        where = "alone here, without its base model" if alone else "beside the weights"
        raise CheckpointError(
            f"{beside[0]}: a PEFT adapter lies {where}, and no weights hold it. Name the base model "
            "and the adapter, to have them merged (`--model BASE+adapter:FOLDER`, or "
            "from_pretrained(BASE, adapter=FOLDER)), or move the adapter away"
        )
    if adapter is None:
        return
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (adapter / name).is_file():
            raise FileNotFoundError(
                f"{adapter / name} is missing; the folder of a PEFT adapter holds {ADAPTER_CONFIG} "
                f"and {ADAPTER_WEIGHTS} (a .bin is a pickle, and is not read)"
            )


def check_fit(
    folder: Path, config: ClipConfig, tokenizer: Tokenizer, preprocess: Preprocess
) -> None:
    """CheckpointError when the files of a folder are those of several models."""
    size, image_size = preprocess.size, config.vision.image_size
    if size != image_size:
        raise CheckpointError(
            f"{folder}: {PREPROCESS} makes images of {size} pixels, {CONFIG} takes {image_size}"
        )
    highest, entries = max(tokenizer.get_vocab().values(), default=0), config.text.vocab_size
    if highest >= entries:
        raise CheckpointError(
            f"{folder}: {TOKENIZER} has the id {highest}, {CONFIG} a vocabulary of {entries}"
        )
    # Ids of another vocabulary may well fit. The padding is what tells: <pad> is 1 in XLM-R, and
    # [PAD] 0 in BERT, where 1 is unused.
    pad = config.text.pad_token_id
    token = tokenizer.id_to_token(pad)
    if token is None or "pad" not in token.lower():
        raise CheckpointError(
            f"{folder}: {TOKENIZER} has {token!r} at id {pad}, where {CONFIG} has the padding. "
            "It belongs to another model"
        )


def write_settings(
    folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer, preprocess: Preprocess
) -> None:
    """Write all files but the weights, each complete or not at all."""
    # config.json comes last: a folder without it is no checkpoint, and is refused by name.
    _write(folder / TOKENIZER, tokenizer.to_str(pretty=False))
    _write(folder / PREPROCESS, _as_json(preprocess.to_dict()))
    _write(folder / CONFIG, _as_json(config))


def _write(path: Path, text: str) -> None:
    part_of(path).write_text(text, encoding="utf-8")
    put_in_place(path)


def _as_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _shards(index: Path) -> tuple[str, ...]:
    """The files that an index lists, by name; they lie beside it."""
    listed = parse_object(index.read_bytes(), str(index)).get("weight_map")
    names = set(as_object(listed, f"{index}: weight_map").values())
    if not names:
        raise CheckpointError(f"{index}: weight_map lists no tensors")
    for name in names:
        # No "..", no "/": the names come from whoever made the checkpoint.
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise CheckpointError(f"{index}: {name!r} is not the name of a safetensors file")
    return tuple(sorted(names))


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _changed(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} has changed since the run began. Start again when nothing writes to it"
    )
