"""The parity certificate of two models: how far their rows agree, whether that is enough, and why not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from evals.counts import counted
from evals.parity.agreement import Agreement, Compared, agreements, first_values
from evals.parity.causes import (
    HARMLESS,
    NOISE,
    TIED,
    Cause,
    best_causes,
    distance,
    tried_causes,
)
from evals.parity.metrics import MetricChange, key_of, metric_changes
from evals.parity.padding import longest_first, padding_causes
from evals.parity.patterns import suggestions
from evals.parity.probe import (
    Part,
    Probe,
    Rows,
    Runner,
    content_of,
    parts_of,
    shaped_for,
)
from evals.parity.repeats import mixing_causes, noise_causes
from evals.parity.row_causes import row_causes, width_cause
from evals.parity.sample import sample_of
from evals.parity.tolerances import Tolerances, broken
from evals.progress import SILENT, Reporter
from evals.schema import InvalidError, Kind, Side

KINDS: tuple[Kind, ...] = ("text", "image")
# Each is seen by itself, beside whatever a trial explains.
SEEN = ("norm", "width", "padding", "batch", "noise", "zeros")


@dataclass(frozen=True)
class Certificate:
    """What was compared and what came out.

    `reasons` say why the models are not the same, one sentence each; none when they are.
    `distances` are root mean square distances of unit rows by kind, `content` the sha256 of all
    items.
    """

    a: Runner
    b: Runner
    probe: Probe
    content: str
    groups: Sequence[Agreement]
    changes: Sequence[MetricChange]
    distances: Mapping[str, float]
    causes: Sequence[Cause]
    reasons: Sequence[str]
    limits: Tolerances
    notes: Sequence[str]

    @property
    def verdict(self) -> Literal["same", "differs"]:
        """Whether A and B are the same model to everyone who uses their rows."""
        return "differs" if self.reasons else "same"


def certify(
    probe: Probe,
    a: Runner,
    b: Runner,
    limits: Tolerances,
    *,
    allowed: Collection[str] = (),
    reporter: Reporter = SILENT,
) -> Certificate:
    """Embed the probe with both, compare, and look for the cause of what differs.

    `allowed` names causes, or kinds of causes, that are known and no reason to fail. Nothing is
    read from the store: a certificate is of what runs now. Raises what the encoders raise, and
    InvalidError for rows that are no numbers.
    """
    probe, note = shaped_for(probe, (a, b))
    notes = [note] if note else []
    parts = parts_of(probe)
    if not parts:
        raise InvalidError("There is nothing to compare. Name a benchmark with --benchmarks.")
    rows_a, rows_b = (_all_rows(parts, runner, reporter) for runner in (a, b))
    groups: list[Agreement] = []
    causes: list[Cause] = []
    distances: dict[str, float] = {}
    compared_by_kind: dict[Kind, Compared] = {}
    for kind in KINDS:
        members = [part for part in parts if part.side.kind == kind]
        if not members:
            continue
        compared = _compared(kind, members, rows_a, rows_b, causes)
        compared_by_kind[kind] = compared
        groups += agreements(compared)
        distances[kind] = distance(compared)
    for compared in compared_by_kind.values():
        causes += _causes(compared, parts, probe.shaped, a, b, reporter)
    differing = [kind for kind in compared_by_kind if distances[kind] > NOISE]
    for kind in differing:
        # Norms explain no cosine.
        if not any(cause.kind == kind and cause.cause != "norm" for cause in causes):
            # That images agree says something of texts that do not.
            causes += suggestions(groups, kind, other_differs=len(differing) > 1)
    # The benchmark's metrics are of the rows as they are; the shaped items have none.
    changes = metric_changes(probe, rows_a, rows_b)
    reasons = _reasons(groups, changes, causes, limits, allowed)
    return Certificate(
        a=a,
        b=b,
        probe=probe,
        content=content_of(probe),
        groups=groups,
        changes=changes,
        distances=distances,
        causes=_ordered(causes),
        reasons=reasons,
        limits=limits,
        notes=notes,
    )


def _all_rows(parts: Sequence[Part], runner: Runner, reporter: Reporter) -> dict[Any, Rows]:
    count = sum(len(part.side) for part in parts)
    reporter.info(f"{runner.label}: embedding {counted(count, 'item')}")
    return {key_of(part.side): runner.rows(part.side) for part in parts}


def _compared(
    kind: Kind,
    members: Sequence[Part],
    rows_a: Mapping[Any, Rows],
    rows_b: Mapping[Any, np.ndarray],  # of another width, it may be
    causes: list[Cause],
) -> Compared:
    """All rows of a kind; of unequal widths the first values of the wider ones, at their whole norms."""
    a = np.concatenate([rows_a[key_of(part.side)] for part in members])
    b = np.concatenate([rows_b[key_of(part.side)] for part in members])
    width = width_cause(kind, a, b)
    if width is not None:
        causes.append(width)
    dim = min(a.shape[1], b.shape[1])
    labels = [label for part in members for label in part.labels]
    return Compared(kind, labels, first_values(a, dim), first_values(b, dim))


def _causes(
    compared: Compared,
    parts: Sequence[Part],
    shaped: Mapping[Kind, Side],
    a: Runner,
    b: Runner,
    reporter: Reporter,
) -> list[Cause]:
    """The causes for one kind of items: seen in the rows, or tried."""
    from_rows = row_causes(compared)
    sure = [cause for cause in from_rows if cause.cause in SEEN]
    # Cosines do not see norms: what follows is about directions alone.
    if distance(compared) <= NOISE:
        return sure
    reporter.info(f"the {compared.kind}s differ: trying what could make them so")
    sample = sample_of(compared, parts)
    of_direction = [cause for cause in from_rows if cause.cause not in SEEN]
    best = best_causes([*of_direction, *tried_causes(sample, a, b)])
    return [*sure, *best, *_of_batches(sample.side, shaped, a, b)]


def _of_batches(side: Side, shaped: Mapping[Kind, Side], a: Runner, b: Runner) -> list[Cause]:
    """What shows when items are embedded again, in the same batch and beside others."""
    noise = noise_causes(side, a, b)
    batch = side
    if side.kind == "text":
        texts = longest_first(shaped["text"]) if "text" in shaped else None
        if texts is None:
            return [*noise.values()]
        batch = texts
    mixed = mixing_causes(batch, a, b, noisy=noise)
    padding = padding_causes(shaped["text"], a, b, {*noise, *mixed}) if side.kind == "text" else []
    return [*noise.values(), *mixed.values(), *padding]


def _reasons(
    groups: Sequence[Agreement],
    changes: Sequence[MetricChange],
    causes: Sequence[Cause],
    limits: Tolerances,
    allowed: Collection[str],
) -> list[str]:
    """Broken limits, and the first sure cause: a small difference that has one is no rounding."""
    reasons = broken(groups, changes, limits)
    excused = {*allowed, *HARMLESS}
    for cause in _ordered(causes):
        if cause.certainty != "reproduced":
            continue
        # Where two causes cannot be told apart, one of them that is known excuses both.
        names = {cause.name, cause.cause}
        for rival in causes if cause.cause not in SEEN else []:
            if rival.kind == cause.kind and abs(rival.share - cause.share) < TIED:
                names |= {rival.name, rival.cause} - set(SEEN)
        if not names & excused:
            reasons.append(f"{cause.words} ({cause.cause})")
            break
    return reasons


def _ordered(causes: Sequence[Cause]) -> list[Cause]:
    """Sure ones first, then by the share that they explain."""
    rank = {"reproduced": 0, "likely": 1, "possible": 2}
    return sorted(causes, key=lambda cause: (rank[cause.certainty], -cause.share))
