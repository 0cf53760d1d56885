"""Figures of docs/pictures.py that explain how a number comes about."""

import json
from pathlib import Path

from picturing import run


def scoring(folder: Path, picture: Path) -> None:
    """What a record of `tiny` says of its queries: ranks, how ties count, and the interval."""
    import numpy as np
    import pyarrow.parquet as pq
    from matplotlib.figure import Figure

    run(folder, "evals.run", "scenes", "--model", "tiny", "--subsets", "en", "--results", "scored")
    [record] = (folder / "scored").glob("*/*/*/")
    lines = [json.loads(line) for line in (record / "metrics.jsonl").read_text().splitlines()]
    queries = pq.read_table(record / "queries.parquet").to_pandas()
    figure = Figure(figsize=(10, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    captions = queries[queries["direction"] == "t2i"]
    ranks = captions["better"] + 1
    left.bar(*np.unique(ranks[ranks <= 15], return_counts=True), color="#0072B2")
    left.set(xlabel="rank of the caption's image among 500", ylabel="captions")
    for line in lines:
        if line["direction"] == "t2i" and line["metric"] == "R":
            k = line["k"]
            ends = f"{100 * line['ci_low']:.1f}, {100 * line['ci_high']:.1f}"
            left.axvline(k + 0.5, color="#555555", linewidth=0.8, linestyle="--")
            label = f" R@{k} {100 * line['value']:.1f}\n [{ends}]"
            left.annotate(label, (k + 0.5, left.get_ylim()[1] * 0.82), fontsize=9)
    left.set_xticks(range(1, 16))
    left.set_title(
        f"{len(captions):,} captions: R@k is the share left of a line", fontsize=10, loc="left"
    )
    images = queries[(queries["direction"] == "i2t") & (queries["better"] == 0)]
    tied = images.sort_values("tied").iloc[-1]
    chances = [
        chance(int(tied.better), int(tied.tied), int(tied.tied_relevant), k) for k in range(1, 11)
    ]
    right.bar(range(1, 11), chances, color="#E69F00")
    right.set(xlabel="k", ylabel="hit at k", xticks=range(1, 11), ylim=(0, 1.05))
    alike = tied.tied + tied.tied_relevant
    right.set_title(
        f"One image: {alike} captions have the best score, {tied.tied_relevant} of them right.\n"
        "It is a hit as often as in a random order of them",
        fontsize=10,
        loc="left",
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)


def chance(better: int, tied: int, relevant: int, k: int) -> float:
    """How often one of the relevant of equal scores is among the first k, in any order of them."""
    from math import comb

    places = k - better
    if places <= 0:
        return 0.0
    return 1.0 if places > tied else 1 - comb(tied, places) / comb(tied + relevant, places)


def maxsim(folder: Path, picture: Path) -> None:
    """The products of a query's vectors with those of two pages, and which of them MaxSim adds up."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from evals.ranking import maxsim as engine
    from evals.schema import Vectors

    # Unit vectors drawn so that some are near each other; a page may have any number of them.
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((14, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    query = Vectors(rows[:4], np.array([0, 4]))
    pages = Vectors(rows[4:], np.array([0, 6, 10]))
    scores = engine.maxsim(query, pages)[0]
    figure = Figure(figsize=(10, 3.2), dpi=110, layout="constrained")
    parts = figure.subplots(1, 2, width_ratios=[6, 4])
    for page, (axes, score) in enumerate(zip(parts, scores, strict=True)):
        start, stop = pages.offsets[page : page + 2]
        products = rows[:4] @ rows[4:][start:stop].T
        axes.imshow(products, cmap="PuOr", vmin=-1.2, vmax=1.2, aspect="auto")
        for (token, patch), product in np.ndenumerate(products):
            is_best = patch == products[token].argmax()
            axes.text(
                patch,
                token,
                f"{product:.2f}".replace("-0.00", "0.00"),
                ha="center",
                va="center",
                fontweight="bold" if is_best else "normal",
                color="white" if product > 0.7 else "black",
            )
            if is_best:
                corner = (patch - 0.47, token - 0.46)
                axes.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, linewidth=2))
        best = " + ".join(f"{value:.2f}" for value in products.max(axis=1))
        axes.set_title(f"Page {page + 1}: {best} = {score:.2f}", fontsize=10, loc="left")
        axes.set_xticks(range(stop - start), [f"patch {n + 1}" for n in range(stop - start)])
        axes.set_yticks(range(4), [f"token {n + 1}" for n in range(4)] if page == 0 else [""] * 4)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.savefig(picture)
