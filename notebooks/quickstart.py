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
# # Quickstart: one model, measured
#
# One call measures a model and leaves a record. What it holds: scores by language with intervals, the worst queries, and what
# changes when 256 dimensions are cut to 64.
#
# The outputs below are of `tiny` on Scenes. Both are test articles: **their numbers say nothing about jina-clip.** For your own
# pictures write `evals.evaluate("captions:path/to/photos", "path/to/checkpoint")`.

# %%
import os

import matplotlib.pyplot as plt
import pandas as pd

import evals
from evals.paths import checkout

os.chdir(checkout())  # paths are those of the repository
pd.set_option("display.max_colwidth", None)

run = evals.evaluate(
    "scenes",
    "tiny",
    dims=[256, 64],
    results=os.environ.get("EVALS_RESULTS", "results/runs"),
    store=os.environ.get("EVALS_STORE", "results/store"),
)
run.value("t2i/R@1", subset="en"), run.interval("t2i/R@1", subset="en")

# %% [markdown]
# ## Where everything lies
#
# A record is a folder. `manifest.json` holds what was run and where, `metrics.jsonl` one value a line, `queries.parquet` the rank
# of every query. The embeddings lie in the store: the same call again encodes nothing. `evals.list_runs()` gives all records.

# %%
pd.DataFrame(
    [(path, path.stat().st_size) for path in sorted(run.path.iterdir())], columns=["path", "bytes"]
)

# %%
pd.Series(
    {
        "benchmark": run.benchmark,
        "model": run.model,
        "written": run.manifest["written"],
        "dimensions": run.width,
        "dtype": run.manifest["encoder"]["fingerprint"]["dtype"],
        "torch": run.manifest["packages"]["torch"],
        "processor": run.manifest["host"]["processor"],
    },
    name="manifest",
).to_frame()

# %% [markdown]
# ## Scores by language
#
# Recall in per cent. `t2i`: texts find their image; `i2t`: images find one of their texts.

# %%
metrics = run.metrics()
recall = metrics[(metrics.dim == run.width) & metrics.metric.str.startswith("R@")]
(
    100
    * recall.pivot_table(
        index="subset", columns=["direction", "metric"], values="value", sort=False
    )
).round(1)

# %% [markdown]
# R@1 with its 95% interval, from a bootstrap over images. Languages share their images, so intervals that overlap do not mean
# that two languages are equal; a paired comparison tells.

# %%
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for offset, marker, direction in ((-0.12, "o", "t2i"), (0.12, "s", "i2t")):
    shown = recall[(recall.metric == "R@1") & (recall.direction == direction)]
    error = 100 * abs(shown[["ci_low", "ci_high"]].sub(shown.value, axis=0).T.to_numpy(float))
    axes.errorbar(
        [place + offset for place in range(len(shown))],
        100 * shown.value,
        error,
        fmt=marker,
        capsize=3,
        label=direction,
    )
axes.set_xticks(range(len(shown)), shown.subset)
axes.set(
    title=f"{run.benchmark} by {run.model}: R@1 by language",
    ylabel="R@1 (%), 95% interval",
    ylim=(0, 100),
)
axes.legend(loc="lower right", ncols=2, frameon=False)
axes.grid(axis="y", alpha=0.25)

# %% [markdown]
# ## The worst queries
#
# `better` counts the images that scored higher than the one that a caption belongs to, `tied` those that scored the same.
# `python -m evals.mistakes` shows the captions, and the images that were preferred.

# %%
queries = run.queries()
queries = queries[(queries.dim == run.width) & (queries.direction == "t2i")]
columns = ["subset", "query_id", "group_id", "better", "tied", "score"]
queries.nlargest(8, ["better", "tied"])[columns].reset_index(drop=True)

# %% [markdown]
# ## 256 dimensions against 64
#
# The same queries scored twice, paired by query; the interval resamples images. `fell` is True for a main metric that dropped by
# more than 0.3 points, for sure. [docs/comparing.md](../docs/comparing.md) says how the numbers are made.

# %%
comparison = evals.compare(run, run, dims=(256, 64))
print("fell:", comparison.fell)
columns = "subset direction metric a b difference ci_low ci_high p p_holm wins losses".split()
comparison.table()[columns].round(4).head(12)
