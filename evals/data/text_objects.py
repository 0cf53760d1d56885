"""Texts in a program's memory: a corpus with queries and judgements, or pairs of sentences.

Each may be a Dataset of `datasets`, a DataFrame, a list of dicts, or a dict by id as BEIR's loader
gives them. Columns are found by the names that BEIR, mteb and ir_datasets give them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from evals.data.columns import Table, is_empty
from evals.data.fields import kind_of
from evals.data.images import Images, Pictures
from evals.data.judged import Collection, Judgement, Record, as_id, judged, title_and_text
from evals.data.sentence_pairs import Row, pairs_of
from evals.data.table_images import opened
from evals.data.tables_of_objects import table_of
from evals.schema import ConfigError, InvalidError, TextPairs, TextRetrieval

NAMES: Mapping[str, Sequence[str]] = {
    "document id": ("_id", "id", "doc_id", "docid", "corpus-id", "corpus_id"),
    "query id": ("_id", "id", "query_id", "qid", "query-id"),
    "text": ("text", "contents", "body", "passage"),
    "query": ("text", "query", "question"),
    "title": ("title",),
    "image": ("image",),
    "judged query": ("query-id", "query_id", "qid", "query"),
    "judged document": ("corpus-id", "corpus_id", "doc_id", "docid", "document"),
    "grade": ("score", "relevance", "grade", "label", "rel"),
}


def text_retrieval(
    corpus: Any, queries: Any, qrels: Any, *, split: str | None = None
) -> TextRetrieval:
    """Documents, queries and judgements as data that `evals.evaluate` takes.

    `corpus` has an id, a text and perhaps a title per row, `queries` an id and a text; either may
    have an `image` beside the text or in place of it. `qrels` has a query, a document and a grade
    per row, or is a dict of grades by query and document. `split` is that of DatasetDicts.

    Raises InvalidError as `evals.data.judged.judged` does, and ConfigError for a column that is
    missing.
    """
    return judged(
        _collection(corpus, "corpus", split, id_names="document id", text_names="text"),
        _collection(queries, "queries", split, id_names="query id", text_names="query"),
        _judgements(qrels, split),
        {"layout": "memory"},
    )


def text_pairs(pairs: Any, *, split: str | None = None) -> TextPairs:
    """Pairs of sentences with gold scores as data that `evals.evaluate` takes.

    A row has two sentences and a score (`sentence1`, `sentence2`, `score`). Raises InvalidError as
    `evals.data.sentence_pairs.pairs_of` does.
    """
    table = table_of(pairs, "pairs", split)
    rows = (
        Row({name: cells[row] for name, cells in table.columns.items()}, table.where(row))
        for row in range(len(table))
    )
    return pairs_of(rows, {"layout": "memory"})


def _collection(
    data: Any, name: str, split: str | None, *, id_names: str, text_names: str
) -> Collection:
    # The dicts of BEIR's GenericDataLoader.
    if isinstance(data, Mapping) and not _is_dataset(data):
        return Collection(_records_by_id(data, name))
    table = table_of(data, name, split)
    ids = _column(table, id_names)
    texts = _optional(table, text_names)
    images = _optional(table, "image")
    if texts is None and images is None:
        _column(table, text_names)  # raises, with the columns that are there
    records = _records(table, ids, texts, _optional(table, "title"), images)
    return Collection(records, partial(_opened, table, images))


def _is_dataset(data: Any) -> bool:
    """Whether it is a DatasetDict, which is a dict of splits and not of documents."""
    return type(data).__module__.partition(".")[0] == "datasets"


def _records_by_id(data: Mapping[Any, Any], name: str) -> Iterator[Record]:
    for key, value in data.items():
        where = f"{name}, id {key!r}"
        fields = value if isinstance(value, Mapping) else {"text": value}
        text = title_and_text(fields.get("title"), fields.get("text"))
        yield Record(as_id(key), text, where)


def _records(
    table: Table,
    ids: Sequence[Any],
    texts: Sequence[Any] | None,
    titles: Sequence[Any] | None,
    images: Sequence[Any] | None,
) -> Iterator[Record]:
    for row in range(len(table)):
        where = table.where(row)
        text = texts[row] if texts is not None else None
        title = titles[row] if titles is not None else None
        if titles is not None:
            # A frame has NaN, and not None, where a title is missing.
            title = None if is_empty(title) else title
            text = title_and_text(title, text)
        # The row stands for the image, which is read when it is hashed and when it is embedded.
        has_image = images is not None and not is_empty(images[row])
        yield Record(as_id(ids[row]), text, where, row if has_image else None)


def _opened(table: Table, images: Sequence[Any] | None, rows: Sequence[int]) -> "Images | Pictures":
    assert images is not None  # a record names its row only where there is a column of images
    return opened(table, images, rows, None)


def _judgements(data: Any, split: str | None) -> Iterator[Judgement]:
    if isinstance(data, Mapping) and not _is_dataset(data):
        for query, grades in data.items():
            if not isinstance(grades, Mapping):
                raise InvalidError(
                    f"qrels, query {query!r}: is {kind_of(grades)}, not a dict of grades by document."
                )
            for doc, grade in grades.items():
                where = f"qrels, query {query!r}"
                yield Judgement(as_id(query), as_id(doc), grade, where)
        return
    table = table_of(data, "qrels", split)
    queries = _column(table, "judged query")
    docs, grades = _column(table, "judged document"), _column(table, "grade")
    for row in range(len(table)):
        where = table.where(row)
        yield Judgement(as_id(queries[row]), as_id(docs[row]), grades[row], where)


def _column(table: Table, role: str) -> Sequence[Any]:
    cells = _optional(table, role)
    if cells is None:
        raise ConfigError(
            f"{table.name}: no column for the {role} among {', '.join(table.columns)}. "
            f"Name it {NAMES[role][0]}."
        )
    return cells


def _optional(table: Table, role: str) -> Sequence[Any] | None:
    return next((table.columns[name] for name in NAMES[role] if name in table.columns), None)
