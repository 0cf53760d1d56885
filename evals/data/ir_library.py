"""Test collections of the library ir_datasets, by their ids: `ir:beir/scifact/test`.

It is optional, and imported here alone. It downloads what it does not have.
"""

import importlib
from collections.abc import Iterator
from typing import Any

from evals.data.judged import Collection, Judgement, Record, judged, title_and_text
from evals.schema import ConfigError, MissingError, TextRetrieval


def load_ir(name: str) -> TextRetrieval:
    """The documents, queries and judgements of an id.

    MissingError: the library is not there, or the data cannot be had. ConfigError: there is no such
    id, or it has no judgements. InvalidError as `evals.data.judged.judged` says.
    """
    library = _library(name)
    try:
        dataset = library.load(name)
    except KeyError:
        raise ConfigError(
            f"ir:{name}: ir_datasets has no such id. Its catalogue is https://ir-datasets.com."
        ) from None
    return judged_dataset(dataset, name, library.__version__)


def judged_dataset(dataset: Any, name: str, version: str) -> TextRetrieval:
    """The same of a collection that is loaded; `version` is that of the library."""
    absent = [part for part in ("docs", "queries", "qrels") if not dataset.has(part)]
    if absent:
        raise ConfigError(
            f"ir:{name}: has no {' and no '.join(absent)}. Name a part that has, as "
            "ir:beir/scifact/test."
        )
    try:
        return judged(
            Collection(_documents(dataset, name)),
            Collection(_queries(dataset, name)),
            _judgements(dataset, name),
            {"layout": "ir_datasets", "id": name, "version": version},
        )
    # What its downloads raise; `requests` derives its errors from OSError.
    except OSError as error:
        raise MissingError(
            f"ir:{name}: ir_datasets cannot get the data ({error}). Check the network, or put a "
            "copy where it says."
        ) from error


def _library(name: str) -> Any:
    try:
        return importlib.import_module("ir_datasets")
    except ModuleNotFoundError:
        raise MissingError(
            f"ir:{name} needs ir_datasets. Run: pip install 'jina-clip-evals[ir]'."
        ) from None


def _documents(dataset: Any, name: str) -> Iterator[Record]:
    for number, doc in enumerate(dataset.docs_iter()):
        where = f"ir:{name}, document {number}"
        # As BEIR joins them, so that its sets have one number however they come in.
        if hasattr(doc, "title") and hasattr(doc, "text"):
            yield Record(doc.doc_id, title_and_text(doc.title, doc.text), where)
        else:
            yield Record(doc.doc_id, title_and_text(None, doc.default_text()), where)


def _queries(dataset: Any, name: str) -> Iterator[Record]:
    for number, query in enumerate(dataset.queries_iter()):
        yield Record(query.query_id, query.default_text(), f"ir:{name}, query {number}")


def _judgements(dataset: Any, name: str) -> Iterator[Judgement]:
    for number, line in enumerate(dataset.qrels_iter()):
        yield Judgement(
            line.query_id, line.doc_id, line.relevance, f"ir:{name}, judgement {number}"
        )
