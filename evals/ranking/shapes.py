"""The shape vocabulary of the rank engine.

q queries, n documents or rows, d dimensions, e dimensions of a step, c queries and b documents of a
block, k hits or candidates of a query, m comparisons of a level with a group of documents, pairs of
a query and a document, places of a query's relevant documents, best first.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

QueryRows = Float32[np.ndarray, "q d"]
DocRows = Float32[np.ndarray, "n d"]
ImageRows = Float32[np.ndarray, "n d"]  # documents of t2i, queries of i2t
TextRows = Float32[np.ndarray, "texts d"]
WideImages = Float[np.ndarray, "n d"]  # of full width, as stored
WideTexts = Float[np.ndarray, "texts d"]
BlockQueries = Float32[np.ndarray, "c d"]
BlockDocs = Float32[np.ndarray, "b d"]

QueryFloats = Float64[np.ndarray, "q"]
QueryCounts = Int64[np.ndarray, "q"]
RowNorms = Float64[np.ndarray, "n"]
Pairs = Int[np.ndarray, "pairs"]  # the query, or the document, of each pair
PairFloats = Float64[np.ndarray, "pairs"]

LevelMask = Bool[np.ndarray, "q places"]
LevelCounts = Int64[np.ndarray, "q places"]
LevelFloats = Float64[np.ndarray, "q places"]
BlockMask = Bool[np.ndarray, "c places"]
Comparison = Int[np.ndarray, "m"]
ComparisonCounts = Int64[np.ndarray, "m"]
ComparisonFloats = Float64[np.ndarray, "m"]
