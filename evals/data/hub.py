"""Captioned images from parquet repos on the Hugging Face Hub.

Files are read with pyarrow, not with `datasets.load_dataset`: that one retries for 23 s without a
network, ignores a filled Hub cache when offline, and then falls back on whatever revision it
prepared last.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evals.data.captioned import Captioned, Release, measured
from evals.data.fields import kind_of
from evals.data.images import Images
from evals.data.repos import CHECK_COMMIT, Repo, only_config, repo_of
from evals.data.tables import column_of, id_of, ids_of, image_column, table_of
from evals.schema import ImageText, InvalidError, Source

CAPTION_LISTS = ("captions", "caption", "text", "sentences")
IMAGE_IDS = ("image_id", "id", "filename", "img_id", "cocoid")

_CAPTION_N = re.compile(r"caption_(\d+)")


class _Cell(NamedTuple):
    """Where the bytes of an image are."""

    column: Any
    row: int


def load_hub_captions(source: Source) -> dict[str, ImageText]:
    """One row per image, with caption_0, caption_1 ... or a list of captions.

    A `split` column selects rows too. A subset is the config or the split of its name, else the
    whole repo. Images are taken from the first subset that has their id: repos of many languages
    hold the same images in each. MissingError: the repo or a file cannot be had. ConfigError: it
    has no such split. InvalidError: a column is missing or of another type, an id is none or comes
    twice, an image is empty.
    """
    repo = repo_of(source)
    rows: dict[str, list[Captioned]] = {}
    cells: dict[str, _Cell] = {}
    for subset in source.subsets:
        table = table_of(repo, _config_of(repo, subset), source, subset)
        # nlphuji/flickr30k keeps the Karpathy split in a column.
        if "split" in table.column_names:
            table = table.filter([value == source.split for value in table["split"].to_pylist()])
        ids = _row_ids(table, repo)
        rows[subset] = []
        for number, (image, captions) in enumerate(zip(ids, _captions(table, repo), strict=True)):
            where = f"{repo.name}, {subset}, row {number}"
            rows[subset].append(Captioned(image, captions, where))
        # Reading the images of each language again would keep 36 copies in memory.
        if not cells.keys() >= set(ids):
            column = image_column(table, ids, repo)
            for number, image in enumerate(ids):
                cells.setdefault(image, _Cell(column, number))
    return _measured("hub_captions", rows, cells, repo, source)


def load_hub_retrieval(source: Source) -> dict[str, ImageText]:
    """The layout of mteb's retrieval repos: a corpus of images, queries of texts, qrels of pairs.

    Config and split names are resolved as mteb 2.26's RetrievalDatasetLoader does; queries without
    qrels are left out. A query with several images is a caption of each of them; the protocol
    `duplicates: merged` makes it one again. Errors as those of `load_hub_captions`, and
    InvalidError for qrels that name what is not there, or whose scores are no numbers.
    """
    repo = repo_of(source)
    rows: dict[str, list[Captioned]] = {}
    cells: dict[str, _Cell] = {}
    for subset in source.subsets:
        prefix = f"{subset}-" if f"{subset}-corpus" in repo.configs else ""
        corpus = table_of(repo, f"{prefix}corpus", source, subset)
        ids = ids_of(corpus, repo, "image")
        texts = _texts_of_images(repo, prefix, source, subset, ids)
        rows[subset] = [
            Captioned(image, tuple(captions), f"{repo.name}, corpus")
            for image, captions in texts.items()
        ]
        column = image_column(corpus, ids, repo)
        for number, image in enumerate(ids):
            cells.setdefault(image, _Cell(column, number))
    return _measured("hub_retrieval", rows, cells, repo, source)


def _config_of(repo: Repo, subset: str) -> str:
    """The config of that name, else the default, else the only one."""
    for name in (subset, "default"):
        if name in repo.configs:
            return name
    return only_config(repo)


def _measured(
    layout: str,
    rows: dict[str, list[Captioned]],
    cells: Mapping[str, _Cell],
    repo: Repo,
    source: Source,
) -> dict[str, ImageText]:
    def images(rows: Sequence[Captioned]) -> Images:
        chosen = [cells[row.image] for row in rows]
        names = [f"{repo.name}, image {row.image}" for row in rows]
        return Images(names, lambda index: bytes(chosen[index].column[chosen[index].row].as_py()))

    origin = {"repo": repo.name, "revision": repo.commit, "split": source.split}
    return measured(Release(layout, repo.name, rows, images), source, origin)


def _row_ids(table: Any, repo: Repo) -> list[str]:
    """The ids of images in the first of the columns IMAGE_IDS, else the numbers of the rows."""
    name = next((name for name in IMAGE_IDS if name in table.column_names), None)
    if name is None:
        return [str(number) for number in range(len(table))]
    values = table[name].to_pylist()
    return [
        id_of(value, f"{repo.name}, row {number}, column {name}")
        for number, value in enumerate(values)
    ]


def _captions(table: Any, repo: Repo) -> list[tuple[str, ...]]:
    """The captions of each row."""
    numbered = [name for name in table.column_names if _CAPTION_N.fullmatch(name)]
    # caption_10 comes after caption_9.
    numbered.sort(key=lambda name: int(name.removeprefix("caption_")))
    if numbered:
        columns = zip(*(table[name].to_pylist() for name in numbered), strict=True)
        # Images with fewer captions than others have nulls in the last columns.
        present = [[caption for caption in row if caption is not None] for row in columns]
        return _strings(present, f"{repo.name}, row {{}}, columns caption_0 ...")
    for name in CAPTION_LISTS:
        if name in table.column_names:
            return _strings(table[name].to_pylist(), f"{repo.name}, row {{}}, column {name}")
    raise InvalidError(
        f"{repo.name}: no column caption_0, {', '.join(CAPTION_LISTS)} among "
        f"{', '.join(table.column_names)}. Point the row at a repo of captioned images."
    )


def _strings(values: Sequence[Any], place: str) -> list[tuple[str, ...]]:
    """Each value as a tuple of strings; `place` is filled with the number of the row."""
    rows: list[tuple[str, ...]] = []
    for number, value in enumerate(values):
        captions = (value,) if isinstance(value, str) else value
        is_list = isinstance(captions, list | tuple)
        if not is_list or not all(isinstance(caption, str) for caption in captions):
            raise InvalidError(
                f"{place.format(number)}: {str(value)[:40]} is neither a string nor a list of "
                f"strings. {CHECK_COMMIT}"
            )
        rows.append(tuple(captions))
    return rows


def _texts_of_images(
    repo: Repo, prefix: str, source: Source, subset: str, images: Sequence[str]
) -> dict[str, list[str]]:
    """The texts of each image of the corpus, in the order of the queries."""
    config = f"{prefix}qrels" if prefix or "default" not in repo.configs else "default"
    images_of_query = _positive(table_of(repo, config, source, subset), repo)
    # M-BEIR's repos call the config `query`, those of mteb `queries`.
    config = "query" if "query" in repo.configs else f"{prefix}queries"
    queries = table_of(repo, config, source, subset)
    texts: dict[str, list[str]] = {image: [] for image in images}
    ids = ids_of(queries, repo, "text")
    for query, text in zip(ids, column_of(queries, "text", repo), strict=True):
        if not isinstance(text, str):
            raise InvalidError(
                f"{repo.name}, queries: text {query} is {kind_of(text)}, not a string. "
                f"{CHECK_COMMIT}"
            )
        for image in images_of_query.pop(query, ()):
            if image not in texts:
                raise InvalidError(
                    f"{repo.name}, qrels: image {image} of text {query} is not in the corpus. "
                    f"{CHECK_COMMIT}"
                )
            texts[image].append(text)
    if images_of_query:
        query = next(iter(images_of_query))
        raise InvalidError(
            f"{repo.name}, qrels: text {query} is not among the queries. {CHECK_COMMIT}"
        )
    return texts


def _positive(qrels: Any, repo: Repo) -> dict[str, dict[str, None]]:
    """The images of each query with a score above 0, each once and in their order."""
    images_of_query: dict[str, dict[str, None]] = {}
    columns = [column_of(qrels, name, repo) for name in ("query-id", "corpus-id", "score")]
    for number, (query, image, score) in enumerate(zip(*columns, strict=True)):
        where = f"{repo.name}, qrels, row {number}"
        # A comparison with NaN is false, which would drop the pair in silence.
        if not isinstance(score, int | float) or not math.isfinite(score):
            raise InvalidError(
                f"{where}: the score is {score!r}, not a finite number. {CHECK_COMMIT}"
            )
        if score > 0:
            images_of_query.setdefault(id_of(query, where), {})[id_of(image, where)] = None
    return images_of_query
