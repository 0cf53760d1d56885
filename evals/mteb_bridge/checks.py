"""Checks a retrieval task of mteb before anything is embedded: what is refused, and what counts once.

mteb keeps hits and judgements in dictionaries by id, and says nothing of ids that come twice:

- A query listed twice: mteb mixes the hits of both. Refused.
- A document listed twice: where both are equal, mteb counts its hit once, and so do we. Where they
  differ, which of the two mteb keeps is an accident of its heap. Refused.
- A candidate listed twice for a query: mteb counts it once, and so do we.
- A grade that is no whole number: trec_eval refuses it, and mteb with it. Refused here, by name.
- A judgement listed twice: mteb's loader keeps the last. It is gone before anything here sees it.
- Blank texts: 77 retrieval tasks of mteb 2.26 have some (TRECCOVID, FiQA2018, SCIDOCS). They are
  measured as in mteb, and counted where they are embedded (`Adapter.blank_texts`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from evals.data.checks import check_ids, id_problem
from evals.schema import InvalidError

Qrels = Mapping[str, Mapping[str, int]]


class Repeated(NamedTuple):
    """How many documents, and candidates of a query, were listed again and count once."""

    documents: int
    candidates: int


def check_retrieval(task: Any) -> Repeated:
    """Check the data of all subsets and splits of a retrieval task that are measured.

    The task's data is loaded. Raises InvalidError that names subset and split, and the id.
    """
    # What mteb's own `evaluate` does first, for tasks in the form of its first version.
    task.convert_v1_dataset_format_to_v2(num_proc=None)
    documents = candidates = 0
    for where, part in _parts(task):
        qrels = part["relevant_docs"]
        _check_queries(part["queries"]["id"], qrels, where)
        _check_grades(qrels, where)
        documents += _check_documents(part["corpus"], where)
        candidates += _count_repeated(part["top_ranked"] or {})
    return Repeated(documents, candidates)


def _parts(task: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for subset in task.hf_subsets or list(task.dataset):
        splits = task.dataset.get(subset, task.dataset)  # a task may leave out the only subset
        for split in task.eval_splits:
            if split in splits:
                yield f"{subset} {split}", splits[split]


def _check_queries(query_ids: Sequence[str], qrels: Qrels, where: str) -> None:
    # Queries without judgements are not measured.
    measured = [(query, place) for place, query in enumerate(query_ids) if qrels.get(query)]
    places = ((query, f"{where}, query {place}") for query, place in measured)
    check_ids(places, what="query")


def _check_grades(qrels: Qrels, where: str) -> None:
    for query, grades in qrels.items():
        for doc, grade in grades.items():
            if not isinstance(grade, int):
                raise InvalidError(
                    f"{where}: the grade of document {doc!r} for query {query!r} is {grade!r}, "
                    "which is no whole number. Correct the judgements."
                )


def _check_documents(corpus: Any, where: str) -> int:
    """How many documents are listed again; those that differ under one id are refused."""
    doc_ids = list(corpus["id"])
    for place, doc in enumerate(doc_ids):
        problem = id_problem(doc)
        if problem:
            raise InvalidError(f"{where}: the id of document {place} {problem}. Correct it.")
    if len(set(doc_ids)) == len(doc_ids):
        return 0
    # Most corpora have no id twice, and are spared this pass over their documents.
    first: dict[str, int] = {}
    repeated = 0
    for place, doc in enumerate(doc_ids):
        earlier = first.setdefault(doc, place)
        if earlier == place:
            continue
        repeated += 1
        if _embedded(corpus[earlier]) != _embedded(corpus[place]):
            raise InvalidError(
                f"{where}: documents {earlier} and {place} differ and have one id, {doc!r}. "
                "Which of them is meant nobody can tell: correct the data."
            )
    return repeated


def _embedded(document: Mapping[str, Any]) -> dict[str, Any]:
    """What mteb gives to a model of a document; Pillow compares images by their pixels."""
    return {name: document.get(name) for name in ("title", "text", "image")}


def _count_repeated(candidates: Mapping[str, Sequence[str]]) -> int:
    """How many candidates are listed for their query again."""
    return sum(len(docs) - len(set(docs)) for docs in candidates.values())
