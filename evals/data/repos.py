"""A dataset repo on the Hugging Face Hub at one commit, through the Hub cache.

It gives what was asked for, or nothing: no other commit stands in, and no part of a split.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, NoReturn

from evals.hub import probe, reason_of, unreachable
from evals.reading import read_yaml
from evals.schema import ConfigError, InvalidError, MissingError, Source

THREE_WAYS = (
    "Provide it in one of three ways: "
    "(1) a network connection, with HF_TOKEN set if the repo is gated; "
    "(2) DATA=<folder> or --data <folder> with a local copy in one of the captions layouts; "
    "(3) a Hub cache filled elsewhere, through HF_HOME and HF_HUB_OFFLINE=1."
)
CHECK_COMMIT = "Check the commit in benchmarks.yaml."

_CARD_HEAD = re.compile(rb"---\r?\n(.*?)\r?\n---", re.DOTALL)
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})\.parquet")
Patterns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Repo:
    """A dataset repo at a commit.

    `configs` maps config and split to file patterns, `offline` says why only the cache serves.
    """

    name: str
    commit: str
    offline: str | None
    configs: Mapping[str, Patterns]


def repo_of(source: Source) -> Repo:
    """The repo at the commit asked for, or at the newest; from the cache if the Hub is silent.

    MissingError: neither has it. InvalidError: the YAML head of its README cannot be read.
    """
    if source.repo is None:
        raise MissingError(
            f"No data for split {source.split!r}: neither a folder nor a repo. {THREE_WAYS}"
        )
    offline = probe(source.repo, source.revision, kind="dataset")
    repo = Repo(source.repo, source.revision or "main", offline, {})
    # The folder of a snapshot is named by the commit, whatever revision was asked for.
    folder = snapshot(repo, ["README.md"])
    return replace(repo, commit=folder.name, configs=_configs(folder, source.split))


def card_of(repo: Repo) -> Any:
    """The YAML head of the repo's README; an empty mapping when it has none."""
    return _card(snapshot(repo, ["README.md"]))


def snapshot(repo: Repo, patterns: list[str]) -> Path:
    """The folder of the Hub cache with the files that match; MissingError: they cannot be had."""
    from huggingface_hub import snapshot_download
    from tqdm.auto import tqdm

    # No bars where stderr is no terminal.
    quiet: Any = partial(tqdm, disable=None)
    try:
        folder = snapshot_download(
            repo.name,
            repo_type="dataset",
            revision=repo.commit,
            allow_patterns=patterns,
            local_files_only=repo.offline is not None,
            tqdm_class=quiet,
        )
    except unreachable() as error:
        refuse_missing(repo, reason_of(error))
    return Path(folder)


def refuse_missing(repo: Repo, reason: str) -> NoReturn:
    """MissingError with the ways to provide the repo."""
    if repo.offline:
        reason = f"{repo.offline}, and the Hub cache does not hold it"
    raise MissingError(
        f"{repo.name} at {repo.commit} cannot be had: {reason}. {THREE_WAYS}"
    ) from None


def refuse_missing_shards(repo: Repo, files: Sequence[Path], patterns: Sequence[str]) -> None:
    """MissingError when there are no files, or fewer of a series than their names count."""
    if not files:
        refuse_missing(repo, f"no parquet file matches {', '.join(patterns)}")
    for file in files:
        match = _SHARD.fullmatch(file.name)
        if match is None:
            continue
        series, count = match[1], match[2]
        present = len(list(file.parent.glob(f"{series}-?????-of-{count}.parquet")))
        if present != int(count):
            refuse_missing(
                repo, f"only {present} of the {int(count)} files {series}-*.parquet are there"
            )


def refuse_damaged(file: Path) -> None:
    """InvalidError when a large file of the Hub cache has another sha256 than its name.

    Neither huggingface_hub nor parquet checks the content.
    """
    # In the cache a file is a link to its blob, which is named by sha256 when it came through LFS.
    blob = file.resolve()
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return
    with blob.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    if digest != blob.name:
        raise InvalidError(
            f"{file}: damaged, its sha256 is not {blob.name[:12]}... Delete {blob} and run again."
        )


def only_config(repo: Repo) -> str:
    """The only config; ConfigError when there are several."""
    if len(repo.configs) > 1:
        raise ConfigError(
            f"{repo.name}: several configs ({', '.join(repo.configs)}) and none named like the "
            "subset. Correct the subsets of the row."
        )
    return next(iter(repo.configs))


def _card(folder: Path) -> Any:
    # Only the head must be UTF-8: what people write below it is none of ours.
    readme = folder / "README.md"
    match = _CARD_HEAD.match(readme.read_bytes()) if readme.is_file() else None
    if match is None:
        return {}
    # Lines are counted from the first one of the file, which is `---`.
    return read_yaml(b"\n" + match[1], str(readme)) or {}


def _configs(folder: Path, split: str) -> dict[str, Patterns]:
    """Config -> split -> file patterns, as the README declares them; else the usual file names."""
    card = _card(folder)
    declared = card.get("configs") if isinstance(card, dict) else None
    if not declared:
        names = (f"{split}-*.parquet", f"{split}.parquet")
        return {"default": {split: (*names, *(f"*/{name}" for name in names))}}
    try:
        return {str(config["config_name"]): _patterns(config["data_files"]) for config in declared}
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise InvalidError(
            f"{folder / 'README.md'}: the configs in its YAML head cannot be read ({error!r}). "
            f"{CHECK_COMMIT}"
        ) from None


def _patterns(data_files: Any) -> Patterns:
    """Split -> file patterns; a bare pattern, or a list of them, is the split `train`."""
    if isinstance(data_files, str) or isinstance(data_files[0], str):
        data_files = [{"split": "train", "path": data_files}]
    patterns: dict[str, tuple[str, ...]] = {}
    for entry in data_files:
        path = entry["path"]
        patterns[str(entry["split"])] = (path,) if isinstance(path, str) else tuple(path)
    return patterns
