"""Captioned images from parquet repos on the Hugging Face Hub.

Files are read with pyarrow, not with `datasets.load_dataset`: that one retries for 23 s without a network, ignores a filled Hub
cache when offline, and then falls back on whatever revision it prepared last.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from evals.data.captioned import Captioned, Release, measured
from evals.data.images import Images
from evals.data.repos import (
    CHECK_COMMIT,
    Repo,
    only_config,
    refuse_damaged,
    refuse_missing_shards,
    repo_of,
    snapshot,
)
from evals.schema import ConfigError, ImageText, InvalidError, Source

CAPTION_LISTS = ("captions", "caption", "text", "sentences")
IMAGE_IDS = ("image_id", "id", "filename", "img_id", "cocoid")


def load_hub_captions(source: Source) -> dict[str, ImageText]:
    """One row per image, with caption_0, caption_1 ... or a list of captions; a `split` column selects rows too.

    A subset is the config or the split of its name, else the whole repo. Images are taken from the first subset that has their
    id: repos of many languages hold the same images in each.
    """
    repo = repo_of(source)
    rows: dict[str, list[Captioned]] = {}
    places: dict[str, _Cell] = {}
    for subset in source.subsets:
        config = next(
            (name for name in (subset, "default") if name in repo.configs), None
        ) or only_config(repo)
        table = table_of(repo, config, source, subset)
        if "split" in table.column_names:  # nlphuji/flickr30k keeps the Karpathy split in a column
            table = table.filter([value == source.split for value in table["split"].to_pylist()])
        ids = [
            str(v)
            for v in next(
                (table[name].to_pylist() for name in IMAGE_IDS if name in table.column_names),
                range(len(table)),
            )
        ]
        rows[subset] = [
            Captioned(image, captions, f"{repo.name}, {subset}, row {n}")
            for n, (image, captions) in enumerate(zip(ids, _captions(table, repo), strict=True))
        ]
        if not places.keys() >= set(ids):
            column = image_column(table, ids, repo)
            for n, image in enumerate(ids):
                places.setdefault(image, _Cell(column, n))
    return _measured("hub_captions", rows, places, repo, source)


def load_hub_retrieval(source: Source) -> dict[str, ImageText]:
    """The layout of mteb's retrieval repos: a corpus of images, queries of texts, and qrels that pair them.

    Config and split names are resolved as mteb 2.26's RetrievalDatasetLoader does; queries without qrels are left out. A query
    with several images is a caption of each of them; the protocol `duplicates: merged` makes it one again.
    """
    repo = repo_of(source)
    rows: dict[str, list[Captioned]] = {}
    places: dict[str, _Cell] = {}
    for subset in source.subsets:
        prefix = f"{subset}-" if f"{subset}-corpus" in repo.configs else ""
        qrels_config = f"{prefix}qrels" if prefix or "default" not in repo.configs else "default"
        qrels = table_of(repo, qrels_config, source, subset)
        corpus = table_of(repo, f"{prefix}corpus", source, subset)
        queries = table_of(
            repo, "query" if "query" in repo.configs else f"{prefix}queries", source, subset
        )

        images_of: dict[str, dict[str, None]] = {}
        for query, image, score in zip(
            *(_column(qrels, name, repo) for name in ("query-id", "corpus-id", "score")),
            strict=True,
        ):
            if score > 0:
                images_of.setdefault(str(query), {})[str(image)] = None
        ids = _ids(corpus, repo)
        texts: dict[str, list[str]] = {image: [] for image in ids}
        for query, text in zip(_ids(queries, repo), _column(queries, "text", repo), strict=True):
            for image in images_of.pop(query, ()):
                if image not in texts:
                    raise InvalidError(
                        f"{repo.name}, qrels: image {image} of text {query} is not in the corpus. {CHECK_COMMIT}"
                    )
                texts[image].append(text)
        if images_of:
            raise InvalidError(
                f"{repo.name}, qrels: text {next(iter(images_of))} is not among the queries. {CHECK_COMMIT}"
            )
        rows[subset] = [
            Captioned(image, tuple(captions), f"{repo.name}, corpus")
            for image, captions in texts.items()
        ]
        column = image_column(corpus, ids, repo)
        for n, image in enumerate(ids):
            places.setdefault(image, _Cell(column, n))
    return _measured("hub_retrieval", rows, places, repo, source)


class _Cell(NamedTuple):
    column: Any
    row: int


def _measured(
    layout: str,
    rows: dict[str, list[Captioned]],
    places: Mapping[str, _Cell],
    repo: Repo,
    source: Source,
) -> dict[str, ImageText]:
    def images(wanted: Sequence[Captioned]) -> Images:
        cells = [places[row.image] for row in wanted]
        return Images(
            [f"{repo.name}, image {row.image}" for row in wanted],
            lambda index: bytes(cells[index].column[cells[index].row].as_py()),
        )

    origin = {"repo": repo.name, "revision": repo.commit, "split": source.split}
    return measured(Release(layout, repo.name, rows, images), source, origin)


def _captions(table: Any, repo: Repo) -> list[tuple[str, ...]]:
    numbered = sorted(
        (n for n in table.column_names if re.fullmatch(r"caption_\d+", n)), key=lambda n: int(n[8:])
    )
    if numbered:
        columns = zip(*(table[name].to_pylist() for name in numbered), strict=True)
        return [tuple(caption for caption in row if caption is not None) for row in columns]
    for name in CAPTION_LISTS:
        if name in table.column_names:
            values = table[name].to_pylist()
            return [
                _strings(value, f"{repo.name}, row {n}, column {name}")
                for n, value in enumerate(values)
            ]
    raise InvalidError(
        f"{repo.name}: no column caption_0, {', '.join(CAPTION_LISTS)} among {', '.join(table.column_names)}. "
        "Point the row at a repo of captioned images."
    )


def _strings(value: Any, where: str) -> tuple[str, ...]:
    captions = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(caption, str) for caption in captions):
        raise InvalidError(
            f"{where}: {str(value)[:40]} is neither a string nor a list of strings. {CHECK_COMMIT}"
        )
    return captions


def image_column(
    table: Any, ids: Sequence[str], repo: Repo, names: Sequence[str] = ("image",)
) -> Any:
    """The stored bytes of the first of the columns `names` that there is, undecoded."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    found = next((name for name in names if name in table.column_names), None)
    column = table[found] if found else None
    if (
        column is not None
        and types.is_struct(column.type)
        and column.type.get_field_index("bytes") >= 0
    ):
        column = pc.struct_field(column, "bytes")
    if column is None or not (types.is_binary(column.type) or types.is_large_binary(column.type)):
        raise InvalidError(
            f"{repo.name}: no column `{names[0]}` of encoded images among {', '.join(table.column_names)}."
        )
    if column.null_count:
        first = column.is_null().to_pylist().index(True)
        raise InvalidError(f"{repo.name}: image {ids[first]!r} is empty. {CHECK_COMMIT}")
    return column


def _column(table: Any, name: str, repo: Repo) -> list[Any]:
    found = next((n for n in (f"_{name}", name) if n in table.column_names), None)
    if found is None or table[found].null_count:
        what = f"{table[found].null_count} empty cells in" if found else "no"
        raise InvalidError(
            f"{repo.name}: {what} column `{name}` among {', '.join(table.column_names)}. {CHECK_COMMIT}"
        )
    values: list[Any] = table[found].to_pylist()
    return values


def _ids(table: Any, repo: Repo) -> list[str]:
    ids = [str(value) for value in _column(table, "id", repo)]
    if len(set(ids)) < len(ids):
        twice = next(value for value in ids if ids.count(value) > 1)
        raise InvalidError(f"{repo.name}: the id {twice!r} comes twice. {CHECK_COMMIT}")
    return ids


def table_of(repo: Repo, config: str, source: Source, subset: str) -> Any:
    """All rows of a config, from the split asked for, or the one named like the subset, or the only one."""
    import pyarrow as pa

    splits = repo.configs.get(config)
    if splits is None:
        raise InvalidError(
            f"{repo.name}: no config {config!r} among {', '.join(repo.configs)}. {CHECK_COMMIT}"
        )
    split = next((name for name in (source.split, subset) if name in splits), None)
    if split is None and len(splits) > 1:
        raise ConfigError(
            f"{repo.name}: no split {source.split!r} in config {config!r}, which has {', '.join(splits)}."
        )
    patterns = splits[split or next(iter(splits))]
    folder = snapshot(repo, list(patterns))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    files = [
        folder / name
        for name in names
        if name.endswith(".parquet") and any(fnmatchcase(name, p) for p in patterns)
    ]
    refuse_missing_shards(repo, files, patterns)
    for file in files:
        refuse_damaged(file)
    return pa.concat_tables([_parquet(file) for file in files])


def _parquet(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidError(
            f"{file}: not readable as parquet ({error}). Delete {file.resolve()} and run again."
        ) from None
