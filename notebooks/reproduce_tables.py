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
# # The published tables beside what was measured
#
# Every number that was published of jina-clip is a cell of a table in `configs/tables`, with its source. A cell is *exact*,
# *reproduced* or *deviates* when the records hold what it was made of, and *not run* until then. A published number is
# never shown as a measured one. [docs/report.md](../docs/report.md) says how cells are judged.
#
# The outputs below were made with records of `tiny` on Scenes only, so **nothing of these tables is measured here**.
# `make reproduce-v2` leaves what they need; set `EVALS_RESULTS` to where records lie if that is not `results/runs`.

# %%
import os
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from evals.paths import checkout
from evals.report.as_markdown import block
from evals.report.measured import Records
from evals.report.needs import needs
from evals.report.tables import table, table_names
from evals.report.verdicts import judge

os.chdir(checkout())  # paths are those of the repository
pd.set_option("display.max_colwidth", None)
RESULTS = Path(os.environ.get("EVALS_RESULTS", "results/runs"))
STAND_IN: dict[
    str, str
] = {}  # {"jina-clip-v2": "my-checkpoint"} takes another model's records for a published one's
records = Records(RESULTS)
judged = {name: judge(table(name), records, STAND_IN) for name in table_names()}
print(f"{len(records)} records in {RESULTS}")

# %% [markdown]
# ## Coverage
#
# How many cells of each table got each verdict.

# %%
coverage = pd.DataFrame(
    {name: {"table": one.table.row.title, **one.counts} for name, one in judged.items()}
).T
coverage.loc["all"] = ["", *coverage.iloc[:, 1:].sum()]
coverage

# %% [markdown]
# ## One table
#
# Measured, then in brackets published and difference. An average is measured only when every member is.

# %%
Markdown(block(judged["v2post-multilingual-t2i"]))

# %% [markdown]
# ## Published and measured
#
# The scores of the cross-modal tables of the jina-clip-v2 post. Rings are published; a dot is measured, with its 95% interval
# where it has one.

# %%
NAMES = ("v2post-flickr30k", "v2post-coco", "v2post-multilingual-i2t", "v2post-multilingual-t2i")
cells = pd.DataFrame(
    {
        "place": f"{name.removeprefix('v2post-')} · {section} · {row}",
        "published": result.cell.published.value,
        "measured": result.measured,
        "low": result.low,
        "high": result.high,
        "verdict": result.verdict,
    }
    for name in NAMES
    for section, row, _, result in judged[name].results
    if result.cell.base is None  # a score, and no change relative to another model
)
cells = cells.astype({"measured": float, "low": float, "high": float})

# %%
figure, axes = plt.subplots(figsize=(8.6, 0.6 + 0.27 * len(cells)), layout="constrained")
places = range(len(cells))
axes.hlines(places, cells.low, cells.high, color="C0", linewidth=1.5)
axes.plot(
    cells.measured,
    places,
    "o",
    color="C0",
    markersize=5,
    label=f"measured ({cells.measured.count()} of {len(cells)})",
)
axes.plot(
    cells.published, places, "o", color="0.2", markersize=9, fillstyle="none", label="published"
)
axes.set_yticks(places, cells.place, fontsize=8)
axes.set_ylim(len(cells) - 0.5, -0.5)
axes.set_xlabel("Recall@5 (%)")
figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=8)
axes.grid(alpha=0.25)

# %% [markdown]
# ## What is left to evaluate
#
# Each paragraph is one call of `python -m evals.run`, to be ended with `--model jina-clip-v2`.

# %%
calls = needs(map(table, table_names()), "jina-clip-v2", records, STAND_IN)
print("\n\n".join(textwrap.fill(" ".join(call), 120, break_on_hyphens=False) for call in calls))
