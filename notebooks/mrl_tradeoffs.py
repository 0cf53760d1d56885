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
# # What fewer dimensions and fewer bits keep
#
# A sweep scores the first 8, 16 … dimensions of the same embeddings, in several precisions. This notebook reads the newest record
# of one. [docs/sweeps.md](../docs/sweeps.md) says how each precision is made.
#
# The outputs below are of `tiny` on Scenes, in English. Both are test articles: **their numbers say nothing about jina-clip.**
# For another sweep change the two names, or set `EVALS_RESULTS` to where its record lies:
#
# ```sh
# .venv/bin/python -m evals.mrl_sweep --benchmarks flickr8k --model jina-clip-v2 --precisions float32,int8,binary --rescore 100
# ```

# %%
# %matplotlib inline
import os
from pathlib import Path

import pandas as pd

from evals.evaluation.points import points_of
from evals.paths import checkout
from evals.records.selection import newest_run
from evals.views.sweep_figures import kept_by_dimension, pareto, score_by_bytes, score_by_dimension

os.chdir(checkout())  # paths are those of the repository
RESULTS = Path(os.environ.get("EVALS_RESULTS", "results/runs"))
BENCHMARK, MODEL = "scenes.partial", "tiny"

run = newest_run(RESULTS, BENCHMARK, MODEL)
points = points_of(run)
print(run.path)

# %% [markdown]
# ## Scores
#
# The first metric of the record, in per cent; the columns are precisions, `+rescore` with the best candidates ranked again by
# their float32 rows.

# %%
metric = points[0].metric
found = [point for point in points if point.metric == metric]
frame = pd.DataFrame(found)
print(f"{metric}, {frame.subsets[0]}")
(
    100
    * frame.pivot_table(index=["direction", "dim"], columns="precision", values="value", sort=False)
).round(1)

# %%
score_by_dimension(found)

# %% [markdown]
# ## What is kept
#
# Relative to the full width in float32.

# %%
kept_by_dimension(found)

# %% [markdown]
# ## What a byte buys
#
# The line is the Pareto front: no vector of as few bytes scores higher. A rescored precision keeps the float32 rows too, and its
# bytes count both; where those lie on disk, the quantised rows alone have to fit into memory.

# %%
score_by_bytes(found)

# %% [markdown]
# The smallest vectors of the front that keep a given share of the full width's score:

# %%
fronts = [
    pareto([point for point in found if point.direction == direction])
    for direction in frame.direction.unique()
]
front = pd.DataFrame(point for some in fronts for point in some)
smallest = [
    front[front.kept >= keeps].groupby("direction").head(1).assign(keeps=keeps)
    for keeps in (0.9, 0.95, 0.99)
]
columns = ["direction", "keeps", "precision", "dim", "bytes", "kept", "value"]
pd.concat(smallest)[columns].sort_values(
    ["direction", "keeps"], ascending=[False, True], ignore_index=True
).round(3)
