# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From data to a vector size
#
# Which is the smallest vector that keeps 95% of the search quality? One call scores every dimension and precision from the same
# embeddings, the tables are DataFrames, and the answer is one row. Only what the interval shows counts: a share that is kept on
# average may be luck.
#
# The outputs below are of `tiny` on Scenes. Both are test articles: **their numbers say nothing about jina-clip.** For your own
# pictures write `evals.evaluate("captions:path/to/photos", "jinaai/jina-clip-v2", …)`.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import evals
from evals.paths import checkout

os.chdir(checkout())  # paths are those of the repository
KEEP = 0.95  # the share of the full width's score that has to stay
DOCUMENTS = 10_000_000  # how many vectors will be kept

run = evals.evaluate(
    "scenes",
    "tiny",
    subsets="en",
    limit=300,
    dims=[256, 128, 64, 32, 16],
    precisions=["float32", "int8", "binary"],
    results=os.environ.get("EVALS_RESULTS", "results/runs"),
    store=os.environ.get("EVALS_STORE", "results/store"),
)
print(run.path)

# %% [markdown]
# ## Scores
#
# R@1 in per cent: captions that find their picture in the first place.

# %%
metrics = run.metrics()
recall = metrics[(metrics.metric == "R@1") & (metrics.direction == "t2i")]
(100 * recall.pivot(index="dim", columns="precision", values="value")).round(1).sort_index(
    ascending=False
)

# %% [markdown]
# ## What each of them loses, for sure
#
# The same queries at full width and at each smaller size, paired by picture: `kept_low` and `kept_high` are the 95% interval of
# the share that is kept, which is narrower than the two scores' own would suggest. The smallest of many vectors that look good
# enough would be a lucky one; so each precision is followed from wide to narrow, and the first vector that is not `shown` to keep
# enough ends it.

# %%
shares = run.kept()
table = shares[
    (shares.direction == "t2i") & (shares.metric == "R@1") & shares.kept_low.notna()
].sort_values(["precision", "dim"], ascending=[False, False], ignore_index=True)
table["shown"] = (table.kept_low > KEEP).groupby(table.precision).cummin()
table[["precision", "dim", "bytes", "value", "kept", "kept_low", "kept_high", "shown"]].round(3)

# %% [markdown]
# ## The decision
#
# The smallest vector that is shown to keep enough, and what it costs to hold all documents in memory. `python -m evals.mrl_sweep
# --keep 95` gives the answer for both directions at once, with the error shared among the precisions
# ([docs/sweeps.md](../docs/sweeps.md)).

# %%
enough = table[table.shown].nsmallest(1, "bytes")
gigabytes = enough.bytes * DOCUMENTS / 1e9
enough[["dim", "precision", "bytes", "kept", "kept_low"]].assign(gigabytes=gigabytes).round(3)

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for precision, points in table.groupby("precision"):
    axes.errorbar(
        points.bytes,
        100 * points.kept,
        100 * np.array([points.kept - points.kept_low, points.kept_high - points.kept]),
        fmt="o",
        capsize=3,
        label=precision,
    )
axes.axhline(100 * KEEP, color="grey", linewidth=1)
axes.set(
    title="What a vector of so many bytes keeps of R@1",
    xscale="log",
    xlabel="bytes per vector (log scale)",
    ylabel="kept (%), 95% interval",
)
axes.xaxis.set_major_formatter("{x:,.0f}")
axes.legend(frameon=False, loc="lower right")
axes.grid(alpha=0.25)
