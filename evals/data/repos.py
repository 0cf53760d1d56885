"""A dataset repo on the Hugging Face Hub at one commit, through the Hub cache: what was asked for, or nothing."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, NoReturn

from evals.schema import ConfigError, InvalidError, MissingError, Source

THREE_WAYS = (
    "Provide it in one of three ways: (1) a network connection, with HF_TOKEN set if the repo is gated; "
    "(2) DATA=<folder> or --data <folder> with a local copy in one of the captions layouts; "
    "(3) a Hub cache filled elsewhere, through HF_HOME and HF_HUB_OFFLINE=1."
)
CHECK_COMMIT = "Check the commit in benchmarks.yaml."
PROBE_SECONDS = 6.0
BUSY = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Repo:
    """A dataset repo at a commit; `configs` maps config and split to file patterns, `offline` says why only the cache serves."""

    name: str
    commit: str
    offline: str | None
    configs: Mapping[str, Mapping[str, tuple[str, ...]]]


def probe(repo: str, revision: str | None) -> str | None:
    """Why the Hub does not give the repo at that revision; None when it does, or is only busy: downloads are retried then.

    The one call that does not itself retry for 23 seconds.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(repo, revision=revision, timeout=PROBE_SECONDS)
    except _unreachable() as error:
        return None if _status(error) in BUSY else _reason(error)
    return None


def repo_of(source: Source) -> Repo:
    """The repo at the commit asked for, or at the newest; from the cache when the Hub does not answer."""
    if source.repo is None:
        raise MissingError(
            f"No data for split {source.split!r}: neither a folder nor a repo. {THREE_WAYS}"
        )
    repo = Repo(source.repo, source.revision or "main", probe(source.repo, source.revision), {})
    folder = snapshot(repo, ["README.md"])
    return replace(repo, commit=folder.name, configs=_configs(folder, source.split))


def snapshot(repo: Repo, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from tqdm.auto import tqdm

    quiet: Any = partial(tqdm, disable=None)  # no bars where stderr is no terminal
    try:
        return Path(
            snapshot_download(
                repo.name,
                repo_type="dataset",
                revision=repo.commit,
                allow_patterns=patterns,
                local_files_only=repo.offline is not None,
                tqdm_class=quiet,
            )
        )
    except _unreachable() as error:
        refuse_missing(repo, _reason(error))


def refuse_missing(repo: Repo, reason: str) -> NoReturn:
    reason = f"{repo.offline}, and the Hub cache does not hold it" if repo.offline else reason
    raise MissingError(
        f"{repo.name} at {repo.commit} cannot be had: {reason}. {THREE_WAYS}"
    ) from None


def refuse_missing_shards(repo: Repo, files: Sequence[Path], patterns: Sequence[str]) -> None:
    if not files:
        refuse_missing(repo, f"no parquet file matches {', '.join(patterns)}")
    for file in files:
        if match := re.fullmatch(r"(.*)-\d{5}-of-(\d{5})\.parquet", file.name):
            there = len(list(file.parent.glob(f"{match[1]}-?????-of-{match[2]}.parquet")))
            if there != int(match[2]):
                refuse_missing(
                    repo,
                    f"only {there} of the {int(match[2])} files {match[1]}-*.parquet are there",
                )


def refuse_damaged(file: Path) -> None:
    """The Hub cache names a large file by its sha256, and neither huggingface_hub nor parquet checks the content."""
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        with blob.open("rb") as stream:
            if file_digest(stream, "sha256").hexdigest() != blob.name:
                raise InvalidError(
                    f"{file}: damaged, its sha256 is not {blob.name[:12]}... Delete {blob} and run again."
                )


def _configs(folder: Path, split: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Config -> split -> file patterns, as the README's YAML head declares them; else the usual file names."""
    import yaml

    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    try:
        declared = (yaml.safe_load(head[1]) or {}).get("configs") if head else None
        if not declared:
            return {
                "default": {
                    split: tuple(
                        f"{at}{split}{rest}"
                        for at in ("", "*/")
                        for rest in ("-*.parquet", ".parquet")
                    )
                }
            }
        return {str(config["config_name"]): _patterns(config["data_files"]) for config in declared}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise InvalidError(
            f"{readme}: the configs in its YAML head cannot be read ({error}). {CHECK_COMMIT}"
        ) from None


def _patterns(data_files: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(data_files, str) or (
        isinstance(data_files, list) and isinstance(data_files[0], str)
    ):
        data_files = [{"split": "train", "path": data_files}]
    paths = {entry["split"]: entry["path"] for entry in data_files}
    return {
        split: (path,) if isinstance(path, str) else tuple(path) for split, path in paths.items()
    }


def only_config(repo: Repo) -> str:
    if len(repo.configs) > 1:
        raise ConfigError(
            f"{repo.name}: several configs ({', '.join(repo.configs)}) and none named like the subset."
        )
    return next(iter(repo.configs))


def _unreachable() -> tuple[type[Exception], ...]:
    from huggingface_hub import errors

    # HTTPError is httpx's, and httpx has another name in each generation of huggingface_hub.
    http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    xet_error: type[Exception] = getattr(errors, "XetDownloadError", OSError)
    return OSError, http_error, json.JSONDecodeError, xet_error


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: Exception) -> str:
    """The failure in a line, without credentials that a URL may carry."""
    said = {
        401: "no access without a login",
        403: "no access for this login",
        404: "no such repo or commit, or a private one",
    }
    if status := _status(error):
        return f"the Hub answers {status}" + (f" ({said[status]})" if status in said else "")
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"the Hub cannot be reached ({re.sub(r'//[^/@ ]+@', '//', line)})"
