"""Whether a text's row depends on the other texts of its batch: padding that a model sees.

No reference is needed for it: a short text is embedded alone and together with a long one, and both
times it must get the same row.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from evals.encoders.objects import ArrayEncoder
from evals.encoders.variants import variants_of
from evals.parity.agreement import row_cosines, unit
from evals.parity.causes import Cause, best_causes, explained_share
from evals.parity.probe import Runner
from evals.parity.repeats import MOVED
from evals.schema import Side

# The shaped texts by their ids: of 2 to 8 words, and of 64.
SHORT = ("shaped-words-2", "shaped-words-4", "shaped-words-6", "shaped-words-8")
LONG = "shaped-words-64"


class Batched(NamedTuple):
    """The rows of short texts by one model: each alone, and each in a pair with a long text."""

    alone: np.ndarray
    paired: np.ndarray

    @property
    def moved(self) -> float:
        """1 less the least cosine between a text's two rows."""
        return 1 - float(row_cosines(self.alone, self.paired).min())


def padding_causes(
    texts: Side, a: Runner, b: Runner, unsteady: Collection[str] = ()
) -> list[Cause]:
    """Which of the models depends on the batch, and on which side it pads where a trial tells.

    `unsteady` are those ("A", "B") whose rows move for another reason (repeats.py).
    """
    if not _has_all(texts):
        return []
    causes = []
    for label, runner, reference in (("A", a, b), ("B", b, a)):
        # Rows of a file were made in batches that nobody knows.
        if isinstance(runner.encoder, ArrayEncoder) or label in unsteady:
            continue
        rows = batched(texts, runner)
        if rows.moved <= MOVED:
            continue
        words = (
            f"{label} gives a text another row when a longer one is in its batch "
            f"(1 - cosine up to {rows.moved:.4f}): padding is attended to or pooled"
        )
        # Where no trial tells which kind of padding it is, this much is seen all the same.
        general = Cause("text", "padding", "padding", words, share=1.0, tried=True)
        causes += _kinds(texts, rows, reference, label) or [general]
    return causes


def longest_first(texts: Side) -> Side | None:
    """A long text and a short one, as one batch; None where the texts are others."""
    return _chosen(texts, LONG, SHORT[0]) if _has_all(texts) else None


def _has_all(texts: Side) -> bool:
    """A file of pins may have been made by a release with other texts."""
    return {*SHORT, LONG} <= {*texts.ids}


def batched(texts: Side, runner: Runner) -> Batched:
    """Each of the short texts alone and beside the long one."""
    alone = [runner.rows(_chosen(texts, name)) for name in SHORT]
    paired = [runner.rows(_chosen(texts, name, LONG))[:1] for name in SHORT]
    return Batched(np.concatenate(alone), np.concatenate(paired))


def _chosen(texts: Side, *names: str) -> Side:
    """Some of the texts, as one batch."""
    return texts.select([texts.ids.index(name) for name in names])


def _kinds(texts: Side, rows: Batched, reference: Runner, label: str) -> list[Cause]:
    """What the other model gives when it pads in a wrong way; nothing where that cannot be tried."""
    kinds = []
    right = batched(texts, reference).alone if variants_of(reference.encoder).padded else None
    for variant in variants_of(reference.encoder).padded:
        tried = [
            np.asarray(variant.rows(_chosen(texts, name, LONG)), np.float32)[:1] for name in SHORT
        ]
        assert right is not None  # there are variants
        share = explained_share(unit(right), unit(rows.paired), unit(np.concatenate(tried)))
        words = (
            f"{label} gives a text another row when a longer one is in its batch: these are the "
            f"rows {variant.words}"
        )
        kinds.append(Cause("text", variant.name, "padding", words, share, tried=True))
    return best_causes(kinds)
