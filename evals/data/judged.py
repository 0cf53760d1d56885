"""Documents, queries and judgements as every layout gives them, checked, and made one kind of data.

BEIR folders, TREC files, datasets and ir_datasets all pass through here, so that no way in is laxer
than another. What is refused, and what is counted and said:

- An id that comes twice, or is none: refused. So is a judgement of a document or query that is not
  there, one that comes again with another grade, and a grade that is no whole number.
- A blank query: refused. A blank document can stand in a ranking, and public collections have some
  (TREC-COVID, FiQA): it is measured and counted.
- A grade of 0 or less: not relevant, as in trec_eval.
- A query without judgements, or without a relevant document: left out, for no ranking of it is
  better than another.

Shapes: judgements.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from evals.data.checks import check_origin, id_problem, is_blank, text_problem
from evals.data.fields import kind_of
from evals.data.images import Images, Pictures, image_files
from evals.data.items import NOTHING
from evals.data.sides import image_side, text_side
from evals.schema import InvalidError, Items, Side, TextRetrieval

NEAR = "Correct the judgement, or complete the data."
# What is counted in `origin`, by its key, and how it is said.
NOTES = {
    "blank_documents": "blank documents, without visible text, measured as they are",
    "queries_not_judged": "queries without a judgement, left out",
    "queries_without_relevant": "queries without a relevant document, left out",
    "negative_grades": "negative grades, not relevant as in trec_eval",
    "repeated_judgements": "judgements that come again with the same grade, counted once",
}


class Record(NamedTuple):
    """A document or a query: its text, its image, or both; `where` is its place in messages.

    `image` is what the `images` of its table open, such as a path.
    """

    id: Any
    text: Any
    where: str
    image: Any = None


class Judgement(NamedTuple):
    """The grade of a document for a query."""

    query: Any
    doc: Any
    grade: Any
    where: str


Opener = Callable[[Sequence[Any]], Images | Pictures]


class Collection(NamedTuple):
    """Documents or queries in their order; `images` opens the images of some of them."""

    records: Iterable[Record]
    images: Opener = image_files


class _Items(NamedTuple):
    """Items as they are gathered: ids in order with their places, texts, and images."""

    places: dict[str, int]
    texts: dict[int, str]
    images: dict[int, Any]
    blank: int


def judged(
    docs: Collection,
    queries: Collection,
    judgements: Iterable[Judgement],
    origin: Mapping[str, str],
) -> TextRetrieval:
    """The data, with what was counted in its origin.

    Raises InvalidError as this file says, with the place and the remedy.
    """
    check_origin(origin)
    # Documents first: a corpus that is broken is named before its judgements seem to be.
    all_docs = _gathered(docs, "document", origin)
    all_queries = _gathered(queries, "query", origin)
    qrels, counts = _qrels(judgements, all_queries.places, all_docs.places)
    with_relevant = np.unique(qrels[:, 0]).tolist()
    if not with_relevant:
        raise InvalidError(
            f"{origin.get('path', 'the data')}: no query has a relevant document, one of grade 1 or "
            "more. Check the judgements and the split."
        )
    # From the place among all queries to that among those that are measured.
    qrels[:, 0] = np.searchsorted(with_relevant, qrels[:, 0])
    counts |= {
        "blank_documents": all_docs.blank,
        "queries_not_judged": len(all_queries.places) - counts["queries_judged"],
        "queries_without_relevant": counts.pop("queries_judged") - len(with_relevant),
    }
    noted = {key: str(counts[key]) for key in NOTES if counts[key]}
    return TextRetrieval(
        queries=_items(all_queries, with_relevant, queries.images),
        docs=_items(all_docs, range(len(all_docs.places)), docs.images),
        qrels=qrels,
        origin={**origin, **noted},
    )


def notes(origin: Mapping[str, str]) -> list[str]:
    """What the origin of data counts, in words."""
    return [f"{text}: {int(origin[key]):,}" for key, text in NOTES.items() if key in origin]


def as_id(value: Any) -> Any:
    """An id as text where it is a whole number; anything else is refused with its record."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def title_and_text(title: Any, text: Any) -> Any:
    """A document as BEIR and mteb give it to a model: title, a space, text."""
    if not isinstance(text, str):
        return text
    return f"{title} {text}".strip() if title else text.strip()


def whole_grade(value: Any, where: str) -> int:
    """A grade as a whole number; trec_eval has no other."""
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = None
    is_number = isinstance(number, int | float | np.number) and not isinstance(number, bool)
    # NaN and infinity are no whole numbers either.
    if not is_number or not float(number).is_integer():
        raise InvalidError(
            f"{where}: the grade is {value!r}, which is no whole number. Correct it."
        )
    return int(number)


def _gathered(table: Collection, what: str, origin: Mapping[str, str]) -> _Items:
    places: dict[str, int] = {}
    wheres: list[str] = []
    texts: dict[int, str] = {}
    images: dict[int, Any] = {}
    blank = 0
    for record in table.records:
        where, place = record.where, len(places)
        problem = id_problem(record.id)
        if problem:
            raise InvalidError(
                f"{where}: the id {record.id!r} of the {what} {problem}. Correct it."
            )
        if record.id in places:
            raise InvalidError(
                f"{where}: {what} {record.id!r} is listed at {wheres[places[record.id]]} too. "
                "Merge or remove one."
            )
        places[record.id] = place
        wheres.append(where)
        if record.image is not None:
            images[place] = record.image
        # Beside an image an empty cell is no text, and not an empty one.
        if record.image is None or (record.text is not None and record.text != ""):
            blank += _check_text(record, what)
            texts[place] = record.text
    if not places:
        raise InvalidError(f"{origin.get('path', 'the data')}: has no {what}. Give one or more.")
    return _Items(places, texts, images, blank)


def _check_text(record: Record, what: str) -> bool:
    """Whether the text is blank; InvalidError for one that is refused."""
    text = record.text
    if not isinstance(text, str):
        raise InvalidError(
            f"{record.where}: the text of {what} {record.id!r} is {kind_of(text)}, not a string. "
            "Correct it."
        )
    blank = is_blank(text)
    # A document may be a list of strings, in a collection of code; a query is none.
    problem = text_problem(text) if what == "query" else ("" if blank else id_problem(text))
    if problem:
        raise InvalidError(
            f"{record.where}: the text of {what} {record.id!r} {problem}. Correct or remove it."
        )
    return blank


def _qrels(
    judgements: Iterable[Judgement], queries: Mapping[str, int], docs: Mapping[str, int]
) -> tuple[Int64[np.ndarray, "judgements 3"], dict[str, int]]:
    """Grades of 1 or more by query and document, and counts of the rest."""
    grades: dict[tuple[int, int], int] = {}
    negative = repeated = 0
    for query, doc, value, where in judgements:
        if query not in queries:
            raise InvalidError(f"{where}: there is no query {query!r}. {NEAR}")
        if doc not in docs:
            raise InvalidError(f"{where}: there is no document {doc!r}. {NEAR}")
        grade = whole_grade(value, where)
        pair = queries[query], docs[doc]
        if grades.get(pair, grade) != grade:
            raise InvalidError(
                f"{where}: document {doc!r} has grade {grade} for query {query!r}, and "
                f"{grades[pair]} before. Remove one of the two judgements."
            )
        repeated += pair in grades
        negative += grade < 0
        grades[pair] = grade
    # Sorted, so that the order of the lines in a file changes no hash.
    rows = [(query, doc, grade) for (query, doc), grade in grades.items() if grade > 0]
    qrels = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
    judged_queries = len({query for query, _ in grades})
    return qrels, {
        "negative_grades": negative,
        "repeated_judgements": repeated,
        "queries_judged": judged_queries,
    }


def _items(gathered: _Items, chosen: Sequence[int], images: Opener) -> Items:
    all_ids = list(gathered.places)
    ids = [all_ids[place] for place in chosen]
    number = {place: number for number, place in enumerate(chosen)}
    text_places = [place for place in gathered.texts if place in number]
    image_places = [place for place in gathered.images if place in number]
    texts = text_side(
        [gathered.texts[place] for place in text_places], [all_ids[place] for place in text_places]
    )
    pictures = Side("image", [], [], [])
    # Only those of the items that are measured: each is read once to be hashed.
    if image_places:
        opened = images([gathered.images[place] for place in image_places])
        pictures = image_side(opened, [all_ids[place] for place in image_places])
    return Items(
        ids=ids,
        texts=texts,
        images=pictures,
        item_of_text=np.array([number[place] for place in text_places], dtype=np.int64),
        item_of_image=np.array([number[place] for place in image_places], dtype=np.int64)
        if image_places
        else NOTHING,
    )
