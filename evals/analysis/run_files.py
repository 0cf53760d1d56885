"""Scores a TREC run file: rankings that any search engine or model wrote, against judgements.

    run      query  Q0  document  rank  score  tag      (https://trec.nist.gov, "trec_eval format")
    qrels    query  iteration  document  grade

As in trec_eval the scores decide and the column `rank` does not. Equal scores count in expectation
over their orders, where trec_eval takes the reverse order of document ids: without ties both are one
number. A judged query that the run leaves out scores 0, as with `trec_eval -c`.

Shapes: q queries, pairs of a query and a document relevant to it.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evals.bucket import Location
from evals.config.own_data import DataRef, data_name
from evals.counts import counted
from evals.data.judged import whole_grade
from evals.data.lines import stream_lines
from evals.data.local import SPLIT
from evals.data.own import ALL, row_of
from evals.data.trec import read_judgements
from evals.evaluation.evaluate import outcome_of
from evals.evaluation.load import Parts
from evals.evaluation.outcome import Outcome
from evals.evaluation.recording import Costs, Measurement, prepare_results, write_record
from evals.ranking.definition import Places
from evals.schema import ConfigError, InvalidError, Items, Side, TextRetrieval
from evals.settings import Settings
from evals.tasks.retrieval import scores_of

COLUMNS = ("query", "Q0", "document", "rank", "score", "tag")


class Ranking(NamedTuple):
    """The documents that a run gives a query, and the score of each; in no order."""

    docs: list[str]
    scores: list[float]


class RunFile(NamedTuple):
    """A run: the ranking of each query, its tag, and the sha256 of the file."""

    rankings: Mapping[str, Ranking]
    tag: str
    sha256: str


def read_run_file(file: Path) -> RunFile:
    """A run in TREC's format, plain or gzipped.

    Raises InvalidError, naming file and line, for another number of columns, a score that is no
    finite number, a document that a query has twice, two tags, and a file without lines.
    """
    rankings: dict[str, Ranking] = {}
    seen: dict[str, set[str]] = {}
    tags: dict[str, str] = {}
    digest = hashlib.sha256()
    for line in stream_lines(file):
        # Of the text and not of the file: gzipped or not, a run is the same.
        digest.update(line.text.encode() + b"\n")
        cells = line.text.split()
        if len(cells) != len(COLUMNS):
            raise InvalidError(
                f"{line.where}: {counted(len(cells), 'column')}, where {len(COLUMNS)} are expected "
                f"({', '.join(COLUMNS)}). Correct the line."
            )
        query, _, doc, _, score, tag = cells
        # Two files that were joined by mistake would be scored as one system.
        tags.setdefault(tag, line.where)
        if doc in seen.setdefault(query, set()):
            raise InvalidError(
                f"{line.where}: query {query} has document {doc} twice, which would count twice. "
                "Keep one of the lines."
            )
        seen[query].add(doc)
        ranking = rankings.setdefault(query, Ranking([], []))
        ranking.docs.append(doc)
        ranking.scores.append(_finite(score, line.where))
    if not rankings:
        raise InvalidError(f"{file}: holds no line of a run.")
    if len(tags) > 1:
        (first, _), (second, where), *_ = tags.items()
        raise InvalidError(
            f"{where}: the tag is {second}, and before it was {first}: these are two runs. "
            "Write one file for each."
        )
    return RunFile(rankings, next(iter(tags)), digest.hexdigest())


def _finite(score: str, where: str) -> float:
    try:
        value = float(score)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InvalidError(f"{where}: the score is {score!r}, and no finite number.")
    return value


class Judged(NamedTuple):
    """Judgements as data without texts, and what was left out of them."""

    data: TextRetrieval
    grades: Mapping[str, Mapping[str, int]]
    not_relevant: int  # queries without a relevant document


def read_qrels_file(file: Path) -> Judged:
    """Judgements in TREC's format. Queries and documents are told apart by their ids alone.

    Queries without a relevant document (grade 1 or more) are left out, as in trec_eval. Raises
    InvalidError for a document that is judged twice with two grades, and when nothing is relevant.
    """
    grades: dict[str, dict[str, int]] = {}
    for judgement in read_judgements(file):
        grade = whole_grade(judgement.grade, judgement.where)
        before = grades.setdefault(judgement.query, {}).setdefault(judgement.doc, grade)
        # The same judgement twice is harmless; which of two grades is meant nobody can tell.
        if before != grade:
            raise InvalidError(
                f"{judgement.where}: document {judgement.doc} has grade {grade} for query "
                f"{judgement.query}, and before it had {before}. Keep one."
            )
    relevant = {
        query: {doc: grade for doc, grade in docs.items() if grade >= 1}
        for query, docs in grades.items()
    }
    kept_queries = {query: docs for query, docs in relevant.items() if docs}
    if not kept_queries:
        raise InvalidError(f"{file}: no query has a relevant document, one of grade 1 or more.")
    queries = sorted(kept_queries)
    # Sorted, so that the record's hash of the data does not depend on the order of the file.
    docs = sorted({doc for judged in kept_queries.values() for doc in judged})
    place = {doc: i for i, doc in enumerate(docs)}
    qrels = [
        (i, place[doc], grade)
        for i, query in enumerate(queries)
        for doc, grade in sorted(kept_queries[query].items())
    ]
    data = TextRetrieval(
        queries=_named(queries),
        docs=_named(docs),
        qrels=np.array(qrels, dtype=np.int64),
        origin={"layout": "qrels", "path": str(file)},
    )
    return Judged(data, kept_queries, len(grades) - len(kept_queries))


def places(run: RunFile, judged: Judged) -> Places:
    """Where the relevant documents of each query stand in the run; those that it lacks, nowhere."""
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "query",
            "gain",
            "score",
            "above",
            "equal",
            "relevant_above",
            "relevant_equal",
        )
    }
    for i, query in enumerate(judged.data.queries.ids):
        grades = judged.grades[query]
        ranking = run.rankings.get(query, Ranking([], []))
        scores = np.array(ranking.scores)
        gains = np.array([grades.get(doc, 0) for doc in ranking.docs])
        relevant = np.flatnonzero(gains)
        # Best first, as Places wants the relevant documents of a query.
        relevant = relevant[np.argsort(-scores[relevant], kind="stable")]
        entries = {
            "query": np.full(len(relevant), i),
            "gain": gains[relevant].astype(float),
            "score": scores[relevant],
            **_counts(scores, scores[relevant], ""),
            **_counts(scores[relevant], scores[relevant], "relevant_"),
        }
        for name, values in entries.items():
            columns[name].append(values)
    counts = np.bincount(judged.data.qrels[:, 0], minlength=len(judged.data.queries))
    order = np.lexsort((-judged.data.qrels[:, 2], judged.data.qrels[:, 0]))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Places(**joined, n_relevant=counts, ideal=judged.data.qrels[order, 2].astype(np.float64))


def _counts(scores: np.ndarray, of: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    """How many scores are above each of some, and how many are equal to it."""
    # Two binary searches per relevant document, and no pass over all pairs.
    ascending = np.sort(scores)
    up_to = np.searchsorted(ascending, of, side="right")
    below = np.searchsorted(ascending, of, side="left")
    above = len(ascending) - up_to
    # `above` and `equal` of all documents, `relevant_above` and `relevant_equal` of relevant ones
    return {f"{prefix}above": above, f"{prefix}equal": up_to - below}


def _named(ids: Sequence[str]) -> Items:
    """Items of which only the ids are known: these stand for their content."""
    # Prefixed: an id must not pass for the text of the same words.
    hashes = [hashlib.sha256(f"id {name}".encode()).hexdigest() for name in ids]
    none = Side("image", [], [], [])
    texts = Side("text", ids, ids, hashes)
    return Items(ids, texts, none, np.arange(len(ids)), np.zeros(0, dtype=np.int64))


class System:
    """The system that wrote a run, as the encoder of a record: its run's hash stands for its weights."""

    dim = 1  # a ranking has no vectors, and a record's numbers stand at a width

    def __init__(self, name: str, file: Path, run: RunFile) -> None:
        self.name = name
        self.fingerprint: Mapping[str, str] = {"weights": run.sha256, "run": "trec", "tag": run.tag}
        self.source = {"spec": f"run:{file}"}

    def encode(self, side: Side) -> np.ndarray:
        """Refused with ConfigError: a run ranks, and has no rows."""
        raise ConfigError(f"{self.name} is a run file: it ranks {side.kind}s, and embeds none.")


class Scored(NamedTuple):
    """What was measured, and what was not."""

    outcome: Outcome
    missing: list[str]  # judged queries that the run leaves out, and that score 0
    not_judged: int  # queries of the run without a relevant document
    not_relevant: int  # judged queries without a relevant document


def score_run(
    run_file: Path, qrels_file: Path, *, model: str | None, benchmark: str | None, results: Location
) -> Scored:
    """Score a run against judgements, and write the record.

    `model` is what the record is called, the run's tag unless given; `benchmark` the name of the
    judgements, that of the file unless given. Raises InvalidError as the two readers do, and for a
    run that has none of the judged queries.
    """
    started = time.time()
    run, judged = read_run_file(run_file), read_qrels_file(qrels_file)
    missing = [query for query in judged.data.queries.ids if query not in run.rankings]
    # One shared query is enough to be of one collection; none is a wrong file, not a score of 0.
    if len(missing) == len(judged.data.queries):
        raise InvalidError(
            f"{run_file}: has no query of {qrels_file}, such as "
            f"{missing[0]!r}; it has {next(iter(run.rankings))!r}. They are not of one collection."
        )
    ref = DataRef("qrels", str(qrels_file), benchmark or data_name(qrels_file))
    subsets = {ALL: judged.data}
    measurement = Measurement(
        row=row_of(ref, subsets, SPLIT),
        encoder=System(model or data_name(Path(run.tag)), run_file, run),
        settings=Settings(results=results),
        parts=Parts(subsets, None),
        dims=(System.dim,),
        precisions=("float32",),
        scores={ALL: [scores_of(places(run, judged), judged.data)]},
        costs=Costs(),
        started=started,
        zero_rows=0,
    )
    not_judged = len(run.rankings.keys() - judged.grades.keys())
    counts = {"missing": len(missing), "not_judged": not_judged}
    prepare_results(measurement.settings)
    path = write_record(measurement, run_file=counts)
    return Scored(outcome_of(measurement, path), missing, not_judged, judged.not_relevant)
