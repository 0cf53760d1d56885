"""The loops that numba compiles: one counts all levels of a block, another finds the close calls of some.

Numpy would pass over the scores once for every level and every comparison. `count_levels` looks at
every score while it is in the cache, for all levels of queries and documents together, and adds the
step's products on the way.

Shapes: c queries and b documents of a block, p and r places, m comparisons.
"""

import numpy as np
from jaxtyping import Float32, Int32

from evals.ranking.compiling import compiled
from evals.ranking.shapes import Comparison, Pairs

TILE = 512  # documents whose levels and counts stay in the fastest cache


def _count_levels(
    sums: Float32[np.ndarray, "c filled"],
    products: Float32[np.ndarray, "_ filled"],
    query_scales: Float32[np.ndarray, "c"],
    doc_scales: Float32[np.ndarray, "b"],
    query_low: Float32[np.ndarray, "p c"],
    query_high: Float32[np.ndarray, "p c"],
    doc_low: Float32[np.ndarray, "r b"],
    doc_high: Float32[np.ndarray, "r b"],
    query_counts: Int32[np.ndarray, "2 p c"],
    doc_counts: Int32[np.ndarray, "2 r b"],
) -> None:
    """Add the products to the sums, then count the scores, which are the sums times both scales.

    `counts[0]` goes up by the scores of a query, or of a document, that are at least `low`, and
    `counts[1]` by those above `high`. Where `low` is infinity the level is not needed, and its
    counts stay.
    """
    n_queries, n_docs = len(query_scales), len(doc_scales)
    scores = np.empty(TILE, np.float32)
    doc_lowest = np.empty(TILE, np.float32)
    for first in range(0, n_docs, TILE):
        last = min(first + TILE, n_docs)
        n = last - first
        tile_scales = doc_scales[first:last]
        doc_lowest[:] = np.inf
        for place in range(len(doc_low)):
            lows = doc_low[place, first:last]
            for j in range(n):
                doc_lowest[j] = min(doc_lowest[j], lows[j])
        for i in range(n_queries):
            tile_sums = sums[i, first:last]
            query_scale = query_scales[i]
            lowest = np.float32(np.inf)
            for place in range(len(query_low)):
                lowest = min(lowest, query_low[place, i])
            # comparisons are summed without a branch, in 32 bits as the scores are:
            # LLVM makes vector instructions of such loops
            query_reached = np.int32(0)
            docs_reached = np.int32(0)
            if len(products):
                tile_products = products[i, first:last]
                for j in range(n):
                    total = tile_sums[j] + tile_products[j]
                    tile_sums[j] = total
                    score = total * tile_scales[j] * query_scale
                    scores[j] = score
                    query_reached += np.int32(score >= lowest)
                    docs_reached += np.int32(score >= doc_lowest[j])
            else:
                for j in range(n):
                    score = tile_sums[j] * tile_scales[j] * query_scale
                    scores[j] = score
                    query_reached += np.int32(score >= lowest)
                    docs_reached += np.int32(score >= doc_lowest[j])
            for place in range(len(query_low) if query_reached else 0):  # most queries reach none
                low = query_low[place, i]
                high = query_high[place, i]
                if low == np.inf:
                    continue
                at_least = np.int32(0)
                above = np.int32(0)
                for j in range(n):
                    at_least += np.int32(scores[j] >= low)
                    above += np.int32(scores[j] > high)
                query_counts[0, place, i] += at_least
                query_counts[1, place, i] += above
            # the same for the documents of the tile, each with its own level at a place
            for place in range(len(doc_low) if docs_reached else 0):
                lows = doc_low[place, first:last]
                highs = doc_high[place, first:last]
                tile_at_least = doc_counts[0, place, first:last]
                tile_above = doc_counts[1, place, first:last]
                for j in range(n):
                    tile_at_least[j] += np.int32(scores[j] >= lows[j])
                    tile_above[j] += np.int32(scores[j] > highs[j])


def _find_close(
    sums: Float32[np.ndarray, "c filled"],
    query_scales: Float32[np.ndarray, "c"],
    doc_scales: Float32[np.ndarray, "b"],
    rows: Comparison,
    low: Float32[np.ndarray, "m"],
    high: Float32[np.ndarray, "m"],
    starts: Comparison,
    others: Pairs,
    by_query: bool,
) -> None:
    """Fill `others`, from `starts` on, with whose scores lie from `low` to `high`: as the pass has them.

    `rows` are queries and the others documents, or the other way round.
    """
    for comparison in range(len(rows)):
        row, at = rows[comparison], starts[comparison]
        lowest, highest = low[comparison], high[comparison]
        if by_query:
            for j in range(len(doc_scales)):
                score = sums[row, j] * doc_scales[j] * query_scales[row]
                if lowest <= score <= highest:
                    others[at] = j
                    at += 1
        else:
            for i in range(len(query_scales)):
                score = sums[i, row] * doc_scales[row] * query_scales[i]
                if lowest <= score <= highest:
                    others[at] = i
                    at += 1


count_levels = compiled(_count_levels)
find_close = compiled(_find_close)
