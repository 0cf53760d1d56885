"""Why two models differ: one of them is run in other ways until the other's rows come out.

A trial explains the share of the difference that goes away with it,

    share = 1 - sum |b - a'|^2 / sum |b - a|^2

over unit rows, where a' are the rows of A as it was run for the trial. What is no cause only adds a
difference of its own, and its share is 0 or below: so rounding, which no trial reproduces, is never
taken for a cause. Shapes: n items, d dimensions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.encoders.variant import Cut, Variant
from evals.encoders.variants import image_size, variants_of
from evals.parity.agreement import Compared, unit
from evals.parity.cuts import best_limit
from evals.parity.probe import Runner
from evals.parity.sample import Sample
from evals.schema import Kind, Side

REPRODUCED = 0.9  # of the difference: then the cause is sure
LIKELY = 0.5
TIED = 0.002  # causes whose shares are nearer than this cannot be told apart
# Root mean square distance of unit rows. Below it lie kernels that add in another order.
NOISE = 2e-5
SHORT_SHARE = 0.25  # of the squared distance of long texts, where a cut is a possible cause
PROMPTS = (
    "query: ",
    "passage: ",
    "search_query: ",
    "search_document: ",
    "Represent this sentence for searching relevant passages: ",
    "Represent the query for retrieving evidence documents: ",
    "Represent the document for retrieval: ",
)
# Not meant to change anything, and so no reason to fail.
HARMLESS = frozenset(("precision",))


class Cause(NamedTuple):
    """A possible cause: its name, its kind in a word, a sentence, and the share that it explains.

    `tried`: it was established by a trial or by the rows themselves, and is not a guess.
    """

    kind: str
    name: str
    cause: str
    words: str
    share: float
    tried: bool

    @property
    def certainty(self) -> str:
        """How sure it is: "reproduced", "likely" or "possible"."""
        if self.tried and self.share >= REPRODUCED:
            return "reproduced"
        return "likely" if self.tried else "possible"


def explained_share(
    a: Float64[np.ndarray, "n d"], b: Float64[np.ndarray, "n d"], tried: Float64[np.ndarray, "n d"]
) -> float:
    """The share of the squared difference between a and b that `tried` in place of a takes away."""
    before = float(((b - a) ** 2).sum())
    after = float(((b - tried) ** 2).sum())
    return 1 - after / before if before else 0.0


def distance(compared: Compared) -> float:
    """The root mean square distance of the unit rows."""
    apart: Any = ((unit(compared.b) - unit(compared.a)) ** 2).sum(axis=1)
    return math.sqrt(float(apart.mean()))


def tried_causes(sample: Sample, a: Runner, b: Runner) -> list[Cause]:
    """The share of every trial with A; with B, to get A's rows, where A's are only looked up."""
    from evals.encoders.objects import ArrayEncoder

    altered, rows, target = a, sample.a, sample.b
    labels = ("A", "B")
    # Rows of a file cannot be made in another way; then the model at hand is run as its owner may
    # have run it.
    if isinstance(a.encoder, ArrayEncoder):
        altered, rows, target = b, sample.b, sample.a
        labels = ("B", "A")
    if isinstance(altered.encoder, ArrayEncoder):
        return []
    side = sample.side
    if altered.role and side.kind == "text":
        side = replace(side, role=altered.role)

    def tried(variant: Variant) -> Cause | None:
        made = unit(np.asarray(variant.rows(side), np.float32))
        # Of another width, where the target was cut to the narrower model's.
        if made.shape != target.shape:
            return None
        return Cause(
            kind=side.kind,
            name=variant.name,
            cause=variant.cause,
            words=f"{labels[0]}, run {variant.words}, gives the rows of {labels[1]}",
            share=explained_share(rows, target, made),
            tried=True,
        )

    causes = [tried(variant) for variant in trials(altered, side.kind)]
    # A cut changes no short text; it is many trials, and would be in vain.
    if side.kind == "text" and _grows_with_length(sample):
        causes += _cuts(variants_of(altered.encoder).cuts, tried)
    return [cause for cause in causes if cause is not None]


def _cuts(cuts: Sequence[Cut], tried: Callable[[Variant], Cause | None]) -> list[Cause]:
    """The best number of tokens for each way to cut, until one leaves nothing to explain."""
    causes = []
    for cut in cuts:
        cause = _best_cut(cut, tried)
        if cause is None:
            continue
        causes.append(cause)
        if cause.share > 1 - TIED:
            break
    return causes


def _best_cut(cut: Cut, tried: Callable[[Variant], Cause | None]) -> Cause | None:
    by_limit: dict[int, Cause | None] = {}

    def share(limit: int) -> float:
        cause = tried(cut.at(limit))
        by_limit[limit] = cause
        if cause is None:
            return -math.inf
        return cause.share

    limit = best_limit(share, cut.most, enough=1 - TIED)
    if limit is None:
        return None
    return by_limit[limit]


def _grows_with_length(sample: Sample) -> bool:
    """Whether the shortest quarter of the texts differ much less than the longest."""
    lengths = [len(sample.side.items[place]) for place in range(len(sample.side))]
    order = np.argsort(lengths, kind="stable")
    apart = ((sample.b - sample.a) ** 2).sum(axis=1)
    quarter = max(1, len(order) // 4)
    short, long = apart[order[:quarter]].mean(), apart[order[-quarter:]].mean()
    return bool(short < SHORT_SHARE * long)


def trials(runner: Runner, kind: Kind) -> list[Variant]:
    """All that can be tried: what the encoder's kind allows, and other inputs for any encoder."""
    encoder = runner.encoder
    variants = [variant for variant in variants_of(encoder).plain if variant.kind == kind]
    # Changes of the input need nothing of the encoder, and so can be tried with an API as well.
    if kind == "text":
        changes: list[tuple[str, str, str, Callable[[Any], Any]]] = [
            ("lowercase", "tokenizer", "with texts in lower case", str.lower),
            (
                "one_line",
                "tokenizer",
                "with white space made single",
                lambda t: " ".join(t.split()),
            ),
        ]
        for number, prompt in enumerate(PROMPTS):
            words = f"with {prompt!r} before each text"
            changes.append((f"prompt_{number}", "prompt", words, lambda t, p=prompt: p + t))  # type: ignore[misc]
    else:
        from evals.parity.pictures import picture_changes

        changes = [*picture_changes(image_size(encoder))]
    for name, cause, words, change in changes:
        variants.append(Variant(name, cause, kind, words, _changed(runner, change)))
    return variants


def _changed(runner: Runner, change: Callable[[Any], Any]) -> Callable[[Side], np.ndarray]:
    def rows(side: Side) -> np.ndarray:
        items = [change(side.items[place]) for place in range(len(side))]
        return runner.encoder.encode(replace(side, items=items))

    return rows


def best_causes(causes: Sequence[Cause]) -> list[Cause]:
    """Those that explain most: the best one, and others that cannot be told from it."""
    # The best one may be one of many that change little; below LIKELY all of them are.
    ranked = sorted(causes, key=lambda cause: -cause.share)
    if not ranked or ranked[0].share < LIKELY:
        return []
    return [cause for cause in ranked if cause.share > ranked[0].share - TIED][:4]
