"""Whether a model gives an item the same row twice, and whatever lies beside it in its batch.

If not, no trial can give its rows: dropout was left on, or rows of a batch are mixed.
"""

from collections.abc import Collection

from evals.encoders.objects import ArrayEncoder
from evals.parity.agreement import row_cosines
from evals.parity.causes import Cause
from evals.parity.probe import Runner
from evals.schema import Side

FEW = 8  # items of a batch that is made twice
# Batches of other shapes take other kernels; bfloat16 then moves a cosine by 1e-4.
MOVED = 1e-3
ARTICLES = {"text": "a text", "image": "an image"}


def noise_causes(side: Side, a: Runner, b: Runner) -> dict[str, Cause]:
    """The models, "A" or "B", that give other rows for the same batch, each with that cause."""
    batch = side.select(range(min(FEW, len(side))))
    causes = {}
    for label, runner in _running(a, b).items():
        moved = 1 - float(row_cosines(runner.rows(batch), runner.rows(batch)).min())
        if moved > MOVED:
            words = f"{label} gives the same {side.kind}s other rows each time (1 - cosine up to "
            words += f"{moved:.4f}): dropout, or work that is not repeatable"
            causes[label] = Cause(side.kind, "unrepeatable", "noise", words, share=1.0, tried=True)
    return causes


def mixing_causes(batch: Side, a: Runner, b: Runner, noisy: Collection[str]) -> dict[str, Cause]:
    """The models whose row of the first item depends on the other items, each with that cause.

    The first of several texts is the longest: it is never padded, and so padding is not why.
    `noisy` models give other rows anyway, and are left out.
    """
    causes = {}
    for label, runner in _running(a, b).items():
        if label in noisy:
            continue
        alone, together = runner.rows(batch.select([0])), runner.rows(batch)[:1]
        moved = 1 - float(row_cosines(alone, together).min())
        if moved > MOVED:
            beside = "a shorter one is" if batch.kind == "text" else "others are"
            words = f"{label} gives {ARTICLES[batch.kind]} another row when {beside} in its batch "
            words += f"(1 - cosine {moved:.4f}): the rows of a batch are mixed, and not by padding"
            causes[label] = Cause(batch.kind, "mixed", "batch", words, share=1.0, tried=True)
    return causes


def _running(a: Runner, b: Runner) -> dict[str, Runner]:
    """Those that run: the rows of a file are only looked up."""
    runners = {"A": a, "B": b}
    return {
        label: runner
        for label, runner in runners.items()
        if not isinstance(runner.encoder, ArrayEncoder)
    }
