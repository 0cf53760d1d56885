"""The parity of two models: what they are compared on, how far they agree, and why they do not.

The files in reading order:

    shaped.py        texts of many lengths and images of many shapes, made of Scenes
    probe.py         what is embedded: a part of a benchmark, and those
    agreement.py     cosines and norms of two sets of rows, by language, length and shape
    metrics.py       what the difference does to ranks and metrics
    tolerances.py    how much may differ
    row_causes.py    causes that rows show by themselves: norms, clipping, order, width, fewer bits
    sample.py        the items that trials are made with
    cuts.py          at how many tokens texts are cut, by search
    causes.py        causes that are tried: one model is run otherwise until the other's rows come out
    repeats.py       whether a batch gives the same rows twice, and an item the same row beside others
    padding.py       whether a text's row depends on padding
    patterns.py      what the pattern of a difference suggests where no trial explains it
    certificate.py   all of it put together: the certificate and its verdict
    pins.py          a small file of inputs and rows that any machine can be checked against
    pinned.py        reads such a file, strictly
    show.py          the certificate in the terminal and as JSON
    page.py          the certificate as one page of HTML
"""
