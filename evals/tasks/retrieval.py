"""Text and mixed retrieval with graded judgements, scored by the measures of trec_eval.

A document or a query is a text, an image, or both. The vector of one with both is the sum of its
two unit vectors, as in mteb's wrappers of CLIP. All documents are searched, exactly. Intervals
resample queries; those that share relevant documents, directly or by way of others, are drawn
together.

Shapes: q queries, n items, d dimensions, pairs of a query and a document relevant to it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from evals.embeddings.precision import parse_precision, quantise
from evals.embeddings.rows import RowSource
from evals.embeddings.truncation import truncate
from evals.ranking.definition import Places
from evals.ranking.graded import best_ranks
from evals.ranking.metric_table import GRADED, of_places, per_query_function
from evals.ranking.metrics import mean, tie_rate
from evals.ranking.places import places
from evals.ranking.relevance import Relevant
from evals.ranking.stored_places import stored_places
from evals.ranking.stored_search import stored_top_k
from evals.ranking.streamed import Key
from evals.schema import ConfigError, Items, Side, TextRetrieval
from evals.stats.clusters import query_clusters
from evals.stats.intervals import mean_intervals
from evals.tasks.best import Best, Judgements, best_docs
from evals.tasks.resampling import totals_on
from evals.tasks.scores import Scores, Value


class Judged(NamedTuple):
    """What is relevant to each query, and the gains in the same order."""

    relevant: Relevant
    gains: Float64[np.ndarray, "pairs"]


def sides(data: TextRetrieval) -> list[Side]:
    """Texts and images of the queries, then those of the documents, where there are any."""
    return list(data.sides)


def score(
    rows: Sequence[Float[np.ndarray, "_ d"]],
    data: TextRetrieval,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
    measures: Sequence[str] = (),
) -> list[Scores]:
    """The measures at each dimension and precision, from the full-width rows of `sides`.

    `measures` are further ones by name, such as nDCG@20. Raises ValueError as
    `evals.ranking.places` does and for a name that is none, and ConfigError for rescoring.
    """
    kinds = _kinds(precisions)
    n_query_sides = len(data.queries.sides)
    query_rows, doc_rows = rows[:n_query_sides], rows[n_query_sides:]
    relevant, gains = relevant_of(data)

    def places_by_key() -> Iterator[tuple[Key, Places]]:
        # A pass per dimension: all relevant documents are placed, and not only the ten best.
        for dim in dims:
            queries = item_vectors(data.queries, query_rows, dim)
            docs = item_vectors(data.docs, doc_rows, dim)
            for kind in kinds:
                unit_rows = quantise(queries, kind), quantise(docs, kind)
                yield (dim, kind), places(*unit_rows, relevant, gains, device=device)

    return _scores_of_keys(places_by_key(), data, relevant, measures, device=device)


def score_stored(
    rows: Sequence[RowSource],
    data: TextRetrieval,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    memory: int,
    device: str = "cpu",
    measures: Sequence[str] = (),
) -> list[Scores]:
    """What `score` gives, bit for bit, from rows on disk and in about `memory` bytes.

    Queries and documents are of one side each: `Items` of texts and images are sums that no row of
    the store holds.
    """
    kinds = _kinds(precisions)
    queries, docs = rows
    relevant, gains = relevant_of(data)
    placed = stored_places(
        queries, docs, relevant, gains, dims, kinds, memory=memory, device=device
    )
    return _scores_of_keys(placed, data, relevant, measures, device=device)


def _scores_of_keys(
    placed: Iterable[tuple[Key, Places]],
    data: TextRetrieval,
    relevant: Relevant,
    measures: Sequence[str],
    *,
    device: str = "cpu",
) -> list[Scores]:
    """The measures of the places at each key, taken one after the other."""
    # The usual ones come first: the first of all is the main score.
    names = tuple(dict.fromkeys((*GRADED, *measures)))
    clusters = clusters_of(relevant)
    scores_by_key: dict[Key, Scores] = {}
    columns_by_key: dict[Key, Mapping[str, np.ndarray]] = {}
    for (dim, precision), ranked in placed:
        columns = of_places(ranked, names)
        part = _without_values(ranked, columns, data, clusters)
        columns_by_key[dim, precision] = columns
        scores_by_key[dim, precision] = part._replace(dim=dim, precision=precision)
    return _with_values(scores_by_key, columns_by_key, clusters, device)


def scores_of(
    ranked: Places, data: TextRetrieval, *, dim: int = 1, measures: Sequence[str] = ()
) -> Scores:
    """The measures of places that were not counted here, such as those of a run file.

    `dim` is what the record calls the width, and `measures` are further ones by name.
    """
    relevant, _ = relevant_of(data)
    (scores,) = _scores_of_keys([((dim, "float32"), ranked)], data, relevant, measures)
    return scores


def best(
    rows: Sequence[Float[np.ndarray, "_ d"]],
    data: TextRetrieval,
    *,
    dims: Sequence[int],
    precisions: Sequence[str],
    k: int,
    device: str,
) -> list[Best]:
    """The best documents of each query, as `RankingTask.best` says."""
    n_query_sides = len(data.queries.sides)
    kept = []
    for dim in dims:
        queries = item_vectors(data.queries, rows[:n_query_sides], dim)
        docs = item_vectors(data.docs, rows[n_query_sides:], dim)
        for precision in precisions:
            places = best_docs(
                quantise(queries, precision), quantise(docs, precision), k, device=device
            )
            kept.append(Best("", dim, precision, data.queries.ids, data.docs.ids, *places))
    return kept


def best_stored(
    rows: Sequence[RowSource],
    data: TextRetrieval,
    *,
    dims: Sequence[int],
    precisions: Sequence[str],
    k: int,
    memory: int,
    device: str,
) -> list[Best]:
    """What `best` gives, from rows on disk and in about `memory` bytes; sides as `score_stored`."""
    queries, docs = rows
    hits_by_key = stored_top_k(queries, docs, k, dims, precisions, memory=memory, device=device)
    return [
        Best("", dim, precision, data.queries.ids, data.docs.ids, hits.docs, hits.scores)
        for (dim, precision), hits in hits_by_key.items()
    ]


def judgements(data: TextRetrieval) -> list[Judgements]:
    """The judgements of the data."""
    return [Judgements("", data.queries.ids, data.docs.ids, data.qrels)]


def relevant_of(data: TextRetrieval) -> Judged:
    """The relevant documents of each query, and the gain of each: its grade."""
    relevant = Relevant.from_pairs(data.qrels[:, :2], len(data.queries))
    return Judged(relevant, data.qrels[:, 2].astype(np.float64))


def clusters_of(relevant: Relevant) -> Int64[np.ndarray, "q"]:
    """For each query the first query of its cluster."""
    return query_clusters(
        [docs.tolist() for docs in np.split(relevant.docs, relevant.indptr[1:-1])]
    )


def item_vectors(
    items: Items, rows: Sequence[Float[np.ndarray, "_ d"]], dim: int
) -> Float32[np.ndarray, "n {dim}"]:
    """A unit vector per item, cut to `dim`; `rows` are those of `items.sides`."""
    places_of_sides = {"text": items.item_of_text, "image": items.item_of_image}
    if len(items.sides) == 1:
        # Every item is of the one kind, and they are in order.
        return truncate(rows[0], dim)
    # Each side is cut and normalised first, so that a long vector of one does not drown the other.
    total = np.zeros((len(items), dim), dtype=np.float32)
    for side, side_rows in zip(items.sides, rows, strict=True):
        total[places_of_sides[side.kind]] += truncate(side_rows, dim)
    return truncate(total, dim)


def _kinds(precisions: Sequence[str]) -> list[str]:
    """The kinds of precision, each once. ConfigError for rescoring."""
    for name in precisions:
        if parse_precision(name).rescore is not None:
            raise ConfigError(
                f"{name}: graded judgements are not scored in two stages. Leave --rescore out."
            )
    # without rescoring a precision has the name of its kind
    return list(dict.fromkeys(precisions))


def _without_values(
    ranked: Places,
    columns: Mapping[str, np.ndarray],
    data: TextRetrieval,
    clusters: Int64[np.ndarray, "q"],
) -> Scores:
    """What is kept of each query; the values follow, all dimensions in one call."""
    ranks = best_ranks(ranked)
    # What follows from the best rank is not written twice.
    alone = {name: column for name, column in columns.items() if not per_query_function(name)}
    return Scores(
        direction="",
        dim=1,
        values={},
        columns=vars(ranks) | alone,
        query_ids=data.queries.ids,
        group_ids=[data.queries.ids[query] for query in clusters],
        n_gallery=len(data.docs),
        tie_rate=tie_rate(ranks),
    )


def _with_values(
    scores_by_key: Mapping[Key, Scores],
    columns_by_key: Mapping[Key, Mapping[str, np.ndarray]],
    clusters: Int64[np.ndarray, "q"],
    device: str,
) -> list[Scores]:
    """The scores with the mean and the interval of every measure."""
    # All in one call: every column is multiplied with the same resamples, in one product.
    flat: dict[tuple[Key, str], np.ndarray] = {}
    for key, columns in columns_by_key.items():
        flat |= {(key, name): column for name, column in columns.items()}
    intervals = mean_intervals(flat, clusters, totals=totals_on(device))
    scores = []
    for key, part in scores_by_key.items():
        values = {
            name: Value(mean(column), intervals[key, name])
            for name, column in columns_by_key[key].items()
        }
        scores.append(part._replace(values=values))
    return scores
