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
# # Quickstart: what a record holds
#
# Every evaluation leaves a record. This notebook reads the newest ones: scores by language, the worst queries, and what changes
# when 256 dimensions are cut to 64. Nothing is encoded and no model is loaded.
#
# The outputs below are of `tiny` on Scenes. Both are test articles: **their numbers say nothing about jina-clip.** For your own
# records change the three names, or set `EVALS_RESULTS` to where they lie. Without records the first cell says how to make some.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image

from evals.analysis.comparison import compare
from evals.paths import checkout
from evals.ranking.metrics import expected_rank
from evals.records.queries import Cell, ranks_of, table_of
from evals.records.selection import matched, newest, newest_run, operand
from evals.views.comparison import Title, as_json
from evals.views.forest import forest_image

os.chdir(checkout())  # paths are those of the repository
pd.set_option("display.max_colwidth", None)
RESULTS = Path(os.environ.get("EVALS_RESULTS", "results/runs"))
BENCHMARK, SWEEP, MODEL = "scenes", "scenes.partial", "tiny"

run = newest_run(RESULTS, BENCHMARK, MODEL)
pd.DataFrame(
    [(*key, path) for key, path in newest(RESULTS).items()],
    columns=["benchmark", "model", "newest record"],
)

# %% [markdown]
# ## Where everything lies
#
# A record is a folder. `manifest.json` holds what was run and where, `metrics.jsonl` one value a line, `queries.parquet` the rank
# of every query. The embeddings lie in the store, from which other dimensions are scored without encoding again.

# %%
files = [(path, path.stat().st_size) for path in sorted(run.path.iterdir())]
pd.DataFrame([*files, (run.manifest.config.store, None)], columns=["path", "bytes"]).astype(
    {"bytes": "Int64"}
)

# %%
manifest = run.manifest
encoder = manifest.encoder
pd.Series(
    {
        "benchmark": manifest.title,
        "model": manifest.model,
        "written": manifest.written,
        "dimensions": encoder.dim,
        "dtype": encoder.fingerprint.get("dtype"),
        "torch": manifest.packages["torch"],
        "processor": manifest.host["processor"],
    },
    name="manifest",
).to_frame()

# %% [markdown]
# ## Scores by language
#
# Recall in per cent. `t2i`: texts find their image; `i2t`: images find one of their texts.

# %%
metrics = pd.DataFrame(map(vars, run.metrics)).astype({"k": "Int64"})
widest = metrics[(metrics.dim == metrics.dim.max()) & (metrics.precision == "float32")]
recall = widest[widest.metric == "R"]
(
    100 * recall.pivot_table(index="subset", columns=["direction", "k"], values="value", sort=False)
).round(1)

# %% [markdown]
# R@1 with its 95% interval, from a bootstrap over images. Languages share their images, so intervals that overlap do not mean
# that two languages are equal; a paired comparison tells.

# %%
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for offset, marker, direction in ((-0.12, "o", "t2i"), (0.12, "s", "i2t")):
    shown = recall[(recall.k == 1) & (recall.direction == direction)]
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
    title=f"{manifest.title} by {MODEL}: R@1 by language",
    ylabel="R@1 (%), 95% interval",
    ylim=(0, 100),
)
axes.legend(loc="lower right", ncols=2, frameon=False)
axes.grid(axis="y", alpha=0.25)

# %% [markdown]
# ## The worst queries
#
# The expected rank of the image that belongs to a caption; equal scores count in expectation. `python -m evals.mistakes` shows
# the captions, and the images that were preferred.

# %%
first = widest.subset.iloc[0]
table = table_of(run, Cell(first, "t2i", int(widest.dim.iloc[0]), "float32"))
queries = table.to_pandas().assign(rank=expected_rank(ranks_of(table)))
queries.nlargest(8, "rank")[["subset", "query_id", "group_id", "rank", "score"]].reset_index(
    drop=True
)

# %%
figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
ordered = queries["rank"].sort_values()
axes.plot(
    ordered,
    [100 * (place + 1) / len(ordered) for place in range(len(ordered))],
    drawstyle="steps-post",
)
axes.set(
    xscale="log", ylim=(0, 103), xlabel="rank k (log scale)", ylabel="queries at k or better (%)"
)
axes.xaxis.set_major_formatter("{x:,.0f}")
axes.set_title(f"{first} t2i: {len(ordered):,} queries by {MODEL}", fontsize=10)
axes.grid(alpha=0.25)

# %% [markdown]
# ## 256 dimensions against 64
#
# The same queries scored twice, paired by query; the interval resamples images. The grey band is the floor: changes within it
# are nobody's regression. ▼ marks a drop of more than the floor whose one-sided 95% bound is below 0.
# [docs/comparing.md](../docs/comparing.md) says how the numbers are made.

# %%
pairs = matched(operand(MODEL), operand(f"{MODEL}@64"), RESULTS, [SWEEP])
changes = compare(pairs)
Image(data=forest_image(Title.of(pairs), changes), width=760)

# %%
told = pd.DataFrame(as_json(pairs, changes)["changes"])
told[
    [
        "subset",
        "direction",
        "metric",
        "a",
        "b",
        "difference",
        "ci_low",
        "ci_high",
        "p",
        "p_holm",
        "wins",
        "losses",
    ]
].round(4)
