"""Exact ranks: where the relevant documents of each query stand among all the others.

How it works, on an example. One image is the query and six captions are the documents; b and e,
marked *, describe the image:

    score   caption
    0.9     a
    0.8     b *          level 0.8: 1 irrelevant caption above (a), 1 tied (c)
    0.8     c
    0.5     d
    0.4     e *          level 0.4: 3 irrelevant captions above (a, c, d), none tied
    0.1     f

A level is a score that relevant documents have. To know how many irrelevant documents stand above
each level, and how many on it, is to know every metric. Nothing has to be sorted, and no score has
to be kept: b is second or third, each in half of all orders of equal scores, so R@1 is 0, R@2 is
1/2, R@3 is 1 and the reciprocal rank is (1/2 + 1/3) / 2. nDCG@10 also takes the second level: e is
fifth, behind its three and b.

Scores are multiplied in float32, which is fast and errs in the last bits. Around each level lies a
margin, the largest error that there can be. Outside it float32 decides; inside it, at a close call,
the score is computed again in float64:

        below         close call         above
    ------------|----------+----------|------------>  float32 score
          level - margin  level  level + margin

Few scores lie that near, so ranks cost little more than the product of all rows, and are those of
float64.

The files in reading order:

    definition.py    START HERE: what a rank is, in plain numpy; the tests hold all others to it
    relevance.py     which documents are relevant to each query
    metrics.py       what a ranking is worth: R@k, MRR, nDCG@10, ties in expectation
    metric_table.py  the table of metrics: a row added there is measured, recorded and shown
    ranges.py        which values a metric can have at all
    shapes.py        names for the shapes of arrays
    levels.py        the data of the engine: levels, tallies, steps; how a close call is decided
    products.py      dot products of blocks (float32) and of pairs (float64)
    dispatch.py      all scores, block by block and in threads
    cpu.py           one way to count a block: a compiled pass over every score
    compiling.py     how loops are compiled by numba
    compiled.py      that pass, and the search for close calls, as numba compiles them
    cuda.py          on a CUDA card: counts stay there, and only a few close calls come back
    kernel.py        its Triton kernels: each score is read once for all levels around it
    accelerator.py   on others: groups of documents that are near no level are passed over
    ranks.py         ranks of one direction, or of both in one pass
    places.py        where all relevant documents stand, not only the best
    graded.py        what these places are worth: nDCG, MAP, recall, as trec_eval defines them
    streamed.py      ranks over a gallery larger than memory, read block by block
    stored.py        the same where queries lie on disk as well: strips of them in limited memory
    stored_places.py places of all relevant documents, likewise
    stored_search.py the k best documents of each query, likewise
    distractors.py   documents that are nobody's answer, counted around the best answers
    gallery_size.py  how often a query still hits when a part of them is in the gallery
    sweep.py         ranks at many dimensions in one pass, and at fewer bits
    rescore.py       retrieval in two stages
    search.py        the k best documents of each query, where ranks are not enough
"""
