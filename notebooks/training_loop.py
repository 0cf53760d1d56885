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
# # A training loop that knows how good the model is
#
# Pictures and captions of your own, a model that is trained on half of them, and a measurement of the others after every ten
# steps: R@1 with its interval, the steps in one table, and the last one held against the first.
#
# The model is `tiny` and the pictures are drawn by the first cell. Both are test articles: **their numbers
# say nothing about jina-clip.** For your own, replace `model`, `photos` and `captions`.

# %%
import itertools
import os

import matplotlib.pyplot as plt
import pandas as pd
import torch
from PIL import Image, ImageDraw

import evals
from evals.paths import checkout
from jina_clip import JinaCLIP
from jina_clip.tokens import token_batch

os.chdir(checkout())  # paths are those of the repository
RESULTS = os.environ.get("EVALS_RESULTS", "results/runs")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
SHAPES = ("rectangle", "ellipse", "chord", "pieslice")

photos, captions = [], []
for colour, shape, ground in itertools.product(COLOURS, SHAPES, ("grey", "pink", "cyan")):
    photo = Image.new("RGB", (64, 64), ground)
    angles = (30, 210) if shape in ("chord", "pieslice") else ()
    getattr(ImageDraw.Draw(photo), shape)((12, 16, 52, 48), *angles, fill=colour)
    photos.append(photo)
    captions.append(f"{ground}: one {shape}, painted {colour}")

held_out = evals.image_text(photos[::2], captions[::2])
pd.DataFrame({"caption": captions}).head(3)

# %% [markdown]
# ## The loop
#
# `evals.evaluate` takes the model as it is at that step. `weights=evals.weights_hash` says which weights it has, so that nothing
# is ever scored with the embeddings of an earlier step; `store=None` keeps none. The model is switched to evaluation and back.

# %%
torch.manual_seed(0)
model = JinaCLIP.from_pretrained("configs/tiny", device="cpu").train()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
pixels = torch.stack([model.preprocess.pixels(photo) for photo in photos[1::2]])
tokens = model.tokenize(captions[1::2])
pad = model.config.text.pad_token_id

runs = {}
for step in range(31):
    if step % 10 == 0:
        runs[step] = evals.evaluate(
            held_out,
            model,
            name="drawings",
            weights=evals.weights_hash,
            store=None,
            results=RESULTS,
        )
    batch = torch.randperm(len(pixels))[:24]
    texts = model.get_text_features(token_batch([tokens[i] for i in batch], pad, model.device))
    images = model.get_image_features(model.preprocess.normalize(pixels[batch]))
    cosines = torch.nn.functional.normalize(texts) @ torch.nn.functional.normalize(images).T
    logits, target = model.logit_scale.exp() * cosines, torch.arange(len(batch))
    loss = torch.nn.functional.cross_entropy(logits, target)
    loss = loss + torch.nn.functional.cross_entropy(logits.T, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# ## The curve
#
# Each step left a record, as a command does: `evals.dashboard` shows them, and `evals.track` sends them to a tracker.

# %%
steps = pd.concat([run.metrics().assign(step=step) for step, run in runs.items()])
curve = steps[(steps.metric == "R@1") & (steps.direction == "t2i")].set_index("step")
(100 * curve[["value", "ci_low", "ci_high"]]).round(1)

# %%
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(curve.index, 100 * curve.value, marker="o")
axes.fill_between(curve.index, 100 * curve.ci_low, 100 * curve.ci_high, alpha=0.2)
axes.set(
    title="Pictures found by their caption, of those that were held out",
    xlabel="training step",
    ylabel="R@1 (%), 95% interval",
    ylim=(0, 100),
)
axes.grid(alpha=0.25)

# %% [markdown]
# ## Better, or luck?
#
# The same queries before and after, paired; the interval resamples pictures. `fell` would be True for a drop of more than 0.3
# points that is sure: the line that stops a training run.

# %%
comparison = evals.compare(runs[0], runs[30], metrics=["R@1", "R@5"])
print("the model fell:", comparison.fell)
columns = ["direction", "metric", "a", "b", "difference", "ci_low", "ci_high", "wins", "losses"]
comparison.table()[columns].round(3)
