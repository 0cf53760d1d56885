"""Captioned images from parquet repos on the Hugging Face Hub, at one commit.

Files come through the Hub cache (`snapshot_download`) and are read with pyarrow, not with `datasets.load_dataset`:
that one retries for 23 s without a network, ignores a filled Hub cache when offline, and then falls back on
whatever revision it prepared last. Here a commit is what was asked for, or nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, NoReturn

from evals.data.captions import Captioned, assemble, check
from evals.data.images import Images
from evals.schema import ConfigError, ImageText, InvalidError, MissingError, Source

THREE_WAYS = (
    "Provide it in one of three ways: (1) a network connection, with HF_TOKEN set if the repo is gated; "
    "(2) DATA=<folder> or --data <folder> with a local copy in one of the captions layouts; "
    "(3) a Hub cache filled elsewhere, through HF_HOME and HF_HUB_OFFLINE=1."
)
CAPTION_LISTS = ("captions", "caption", "text", "sentences")
IMAGE_IDS = ("image_id", "id", "filename", "img_id", "cocoid")
_CHECK_COMMIT = "Check the commit in benchmarks.yaml."
PROBE_SECONDS = 6.0
BUSY = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Repo:
    """A dataset repo at a commit; `configs` maps config and split to file patterns, `offline` says why only the cache serves."""

    name: str
    commit: str
    offline: str | None
    configs: Mapping[str, Mapping[str, tuple[str, ...]]]


def load_hub_captions(source: Source) -> ImageText:
    """One row per image, with caption_0, caption_1 ... or a list of captions; a `split` column selects rows too."""
    repo = _repo(source)
    config = next((name for name in (source.subset, "default") if name in repo.configs), None) or _only(repo)
    table = _table(repo, config, source)
    if "split" in table.column_names:  # nlphuji/flickr30k keeps the Karpathy split in a column
        table = table.filter([value == source.split for value in table["split"].to_pylist()])
    ids = next((table[name].to_pylist() for name in IMAGE_IDS if name in table.column_names), range(len(table)))
    rows = [
        Captioned(str(image), captions, f"{repo.name}, row {n}")
        for n, (image, captions) in enumerate(zip(ids, _captions(table, repo), strict=True))
    ]
    return _assembled(rows, table, repo, {"layout": "hub_captions", "split": source.split})


def load_hub_retrieval(source: Source) -> ImageText:
    """The layout of mteb's retrieval repos: a corpus of images, queries of texts, and qrels that pair them.

    Config and split names are resolved as mteb 2.26's RetrievalDatasetLoader does; queries without qrels are left out.
    """
    repo = _repo(source)
    prefix = f"{source.subset}-" if f"{source.subset}-corpus" in repo.configs else ""
    qrels_config = f"{prefix}qrels" if prefix or "default" not in repo.configs else "default"
    qrels = _table(repo, qrels_config, source)
    corpus = _table(repo, f"{prefix}corpus", source)
    queries = _table(repo, "query" if "query" in repo.configs else f"{prefix}queries", source)

    image_of: dict[str, str] = {}
    for query, image, score in zip(*(_column(qrels, name, repo) for name in ("query-id", "corpus-id", "score")), strict=True):
        if score > 0 and image_of.setdefault(str(query), str(image)) != str(image):
            raise InvalidError(f"{repo.name}, qrels: text {query} is paired with several images. Here every text has one image.")
    texts: dict[str, list[str]] = {image: [] for image in _ids(corpus, repo)}
    for query, text in zip(_ids(queries, repo), _column(queries, "text", repo), strict=True):
        if (image := image_of.pop(query, None)) is not None:
            if image not in texts:
                raise InvalidError(f"{repo.name}, qrels: image {image} of text {query} is not in the corpus. {_CHECK_COMMIT}")
            texts[image].append(text)
    if image_of:
        raise InvalidError(f"{repo.name}, qrels: text {next(iter(image_of))} is not among the queries. {_CHECK_COMMIT}")
    rows = [Captioned(image, tuple(captions), f"{repo.name}, corpus") for image, captions in texts.items()]
    return _assembled(rows, corpus, repo, {"layout": "hub_retrieval", "split": source.split})


def _assembled(rows: Sequence[Captioned], table: Any, repo: Repo, origin: dict[str, str]) -> ImageText:
    check(rows, repo.name)
    return assemble(rows, _images(table, rows, repo), origin | {"repo": repo.name, "revision": repo.commit})


def _captions(table: Any, repo: Repo) -> list[tuple[str, ...]]:
    numbered = sorted((n for n in table.column_names if re.fullmatch(r"caption_\d+", n)), key=lambda n: int(n[8:]))
    if numbered:
        columns = zip(*(table[name].to_pylist() for name in numbered), strict=True)
        return [tuple(caption for caption in row if caption is not None) for row in columns]
    for name in CAPTION_LISTS:
        if name in table.column_names:
            values = table[name].to_pylist()
            return [_strings(value, f"{repo.name}, row {n}, column {name}") for n, value in enumerate(values)]
    raise InvalidError(
        f"{repo.name}: no column caption_0, {', '.join(CAPTION_LISTS)} among {', '.join(table.column_names)}. "
        "Point the row at a repo of captioned images."
    )


def _strings(value: Any, where: str) -> tuple[str, ...]:
    captions = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(caption, str) for caption in captions):
        raise InvalidError(f"{where}: {str(value)[:40]} is neither a string nor a list of strings. {_CHECK_COMMIT}")
    return captions


def _images(table: Any, rows: Sequence[Captioned], repo: Repo) -> Images:
    """The stored bytes of the `image` column, undecoded."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    column = table["image"] if "image" in table.column_names else None
    if column is not None and types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if column is None or not (types.is_binary(column.type) or types.is_large_binary(column.type)):
        raise InvalidError(f"{repo.name}: no column `image` of encoded images among {', '.join(table.column_names)}.")
    if column.null_count:
        first = column.is_null().to_pylist().index(True)
        raise InvalidError(f"{repo.name}: image {rows[first].image!r} is empty. {_CHECK_COMMIT}")
    return Images([f"{repo.name}, image {row.image}" for row in rows], lambda index: bytes(column[index].as_py()))


def _column(table: Any, name: str, repo: Repo) -> list[Any]:
    found = next((n for n in (f"_{name}", name) if n in table.column_names), None)
    if found is None or table[found].null_count:
        what = f"{table[found].null_count} empty cells in" if found else "no"
        raise InvalidError(f"{repo.name}: {what} column `{name}` among {', '.join(table.column_names)}. {_CHECK_COMMIT}")
    values: list[Any] = table[found].to_pylist()
    return values


def _ids(table: Any, repo: Repo) -> list[str]:
    ids = [str(value) for value in _column(table, "id", repo)]
    if len(set(ids)) < len(ids):
        twice = next(value for value in ids if ids.count(value) > 1)
        raise InvalidError(f"{repo.name}: the id {twice!r} comes twice. {_CHECK_COMMIT}")
    return ids


def _repo(source: Source) -> Repo:
    """The repo at the commit asked for, or at the newest; from the cache when the Hub does not answer."""
    from huggingface_hub import HfApi

    if source.repo is None:
        raise MissingError(f"No data for split {source.split!r}: neither a folder nor a repo. {THREE_WAYS}")
    repo = Repo(source.repo, source.revision or "main", None, {})
    try:  # the one call that does not retry for 23 s; a busy Hub (429, 5xx) gets those retries below
        HfApi().dataset_info(repo.name, revision=source.revision, timeout=PROBE_SECONDS)
    except _unreachable() as error:
        if _status(error) not in BUSY:
            repo = replace(repo, offline=_reason(error))
    folder = _snapshot(repo, ["README.md"])
    return replace(repo, commit=folder.name, configs=_configs(folder, source.split))


def _table(repo: Repo, config: str, source: Source) -> Any:
    """All rows of a config, from the split asked for, or the one named like the subset, or the only one."""
    import pyarrow as pa

    splits = repo.configs.get(config)
    if splits is None:
        raise InvalidError(f"{repo.name}: no config {config!r} among {', '.join(repo.configs)}. {_CHECK_COMMIT}")
    split = next((name for name in (source.split, source.subset) if name in splits), None)
    if split is None and len(splits) > 1:
        raise ConfigError(f"{repo.name}: no split {source.split!r} in config {config!r}, which has {', '.join(splits)}.")
    patterns = splits[split or next(iter(splits))]
    folder = _snapshot(repo, list(patterns))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    files = [folder / name for name in names if name.endswith(".parquet") and any(fnmatchcase(name, p) for p in patterns)]
    _refuse_missing_shards(repo, files, patterns)
    for file in files:
        _refuse_damaged(file)
    return pa.concat_tables([_parquet(file) for file in files])


def _parquet(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidError(f"{file}: not readable as parquet ({error}). Delete {file.resolve()} and run again.") from None


def _snapshot(repo: Repo, patterns: list[str]) -> Path:
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
        _refuse_missing(repo, _reason(error))


def _refuse_missing(repo: Repo, reason: str) -> NoReturn:
    reason = f"{repo.offline}, and the Hub cache does not hold it" if repo.offline else reason
    raise MissingError(f"{repo.name} at {repo.commit} cannot be had: {reason}. {THREE_WAYS}") from None


def _refuse_missing_shards(repo: Repo, files: Sequence[Path], patterns: Sequence[str]) -> None:
    if not files:
        _refuse_missing(repo, f"no parquet file matches {', '.join(patterns)}")
    for file in files:
        if match := re.fullmatch(r"(.*)-\d{5}-of-(\d{5})\.parquet", file.name):
            there = len(list(file.parent.glob(f"{match[1]}-?????-of-{match[2]}.parquet")))
            if there != int(match[2]):
                _refuse_missing(repo, f"only {there} of the {int(match[2])} files {match[1]}-*.parquet are there")


def _refuse_damaged(file: Path) -> None:
    """The Hub cache names a large file by its sha256, and neither huggingface_hub nor parquet checks the content."""
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        with blob.open("rb") as stream:
            if file_digest(stream, "sha256").hexdigest() != blob.name:
                raise InvalidError(f"{file}: damaged, its sha256 is not {blob.name[:12]}... Delete {blob} and run again.")


def _configs(folder: Path, split: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Config -> split -> file patterns, as the README's YAML head declares them; else the usual file names."""
    import yaml

    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    try:
        declared = (yaml.safe_load(head[1]) or {}).get("configs") if head else None
        if not declared:
            return {"default": {split: tuple(f"{at}{split}{rest}" for at in ("", "*/") for rest in ("-*.parquet", ".parquet"))}}
        return {str(config["config_name"]): _patterns(config["data_files"]) for config in declared}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise InvalidError(f"{readme}: the configs in its YAML head cannot be read ({error}). {_CHECK_COMMIT}") from None


def _patterns(data_files: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(data_files, str) or (isinstance(data_files, list) and isinstance(data_files[0], str)):
        data_files = [{"split": "train", "path": data_files}]
    paths = {entry["split"]: entry["path"] for entry in data_files}
    return {split: (path,) if isinstance(path, str) else tuple(path) for split, path in paths.items()}


def _only(repo: Repo) -> str:
    if len(repo.configs) > 1:
        raise ConfigError(f"{repo.name}: several configs ({', '.join(repo.configs)}) and none named like the subset.")
    return next(iter(repo.configs))


def _unreachable() -> tuple[type[Exception], ...]:
    from huggingface_hub import errors

    # HTTPError is httpx's, and httpx has another name in each generation of huggingface_hub.
    return (OSError, errors.HTTPError, json.JSONDecodeError, getattr(errors, "XetDownloadError", OSError))  # type: ignore[attr-defined]


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: Exception) -> str:
    """The failure in a line, without credentials that a URL may carry."""
    said = {401: "no access without a login", 403: "no access for this login", 404: "no such repo or commit, or a private one"}
    if status := _status(error):
        return f"the Hub answers {status}" + (f" ({said[status]})" if status in said else "")
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"the Hub cannot be reached ({re.sub(r'//[^/@ ]+@', '//', line)})"
