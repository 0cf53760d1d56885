"""Two runs compared from a program: the changes by metric, as a table and as one answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from evals.counts import counted
from evals.library.frames import import_pandas
from evals.library.runs import Run
from evals.records.selection import Measured

if TYPE_CHECKING:
    import pandas as pd

    from evals.analysis.comparison import Change


@dataclass(frozen=True, repr=False)
class Comparison:
    """What changed from run a to run b, by metric: paired by query, clustered by image."""

    changes: tuple["Change", ...]
    _sides: tuple[Measured, Measured] = field(compare=False)
    _subsets: tuple[str, ...] = field(compare=False)

    def __repr__(self) -> str:
        rows = counted(len(self.changes), "change")
        return f"{self.sentence}\n({rows}, with intervals and p, in .table())"

    @cached_property
    def sentence(self) -> str:
        """What was found, as `evals.compare` says it; the p of its family are Holm's."""
        from evals.analysis.finding import finding
        from evals.views.comparison import Title
        from evals.views.finding import sentence

        pairs = [self._sides]
        title = Title.of(pairs)
        return sentence(finding(pairs, self.changes, self._subsets), title.a, title.b)

    @property
    def fell(self) -> bool:
        """Whether a primary metric dropped by more than 0.3 points, and its bound says so too.

        The bound is the one-sided 95% one of the change.
        """
        # Primary ones alone, as in the gate: of dozens of metrics one always falls.
        return any(change.fell for change in self.changes if change.primary)

    def table(self) -> "pd.DataFrame":
        """One row per change: both values, the difference with its 95% interval, p, wins and losses.

        `p_holm` is p adjusted over the primary metrics. Needs pandas.
        """
        rows = []
        for change in self.changes:
            fields = change._asdict()
            difference = fields.pop("difference")
            interval = difference.interval
            # Flat, with the column names of metrics.jsonl where they mean the same.
            row = fields | {
                "difference": difference.value,
                "ci_low": interval.low if interval else None,
                "ci_high": interval.high if interval else None,
                "p": difference.p,
                "wins": difference.wins,
                "losses": difference.losses,
                "fell": change.fell,
            }
            rows.append(row)
        return import_pandas("table()").DataFrame(rows)


def compare(
    a: Run,
    b: Run,
    *,
    dims: tuple[int | None, int | None] = (None, None),
    precisions: tuple[str, str] = ("float32", "float32"),
    subsets: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Comparison:
    """Two runs of one benchmark, or one run at two dimensions or precisions; changes are b minus a.

    The widest dimension of each run is meant unless `dims` names others. Raises NotComparableError
    with reason and remedy for runs that do not measure the same thing.
    """
    from evals.analysis import comparison

    # The widest of each: runs of two models need not have one dimension in common.
    measured_a = Measured(a.record, dims[0] or a.width, precisions[0])
    measured_b = Measured(b.record, dims[1] or b.width, precisions[1])
    pairs = [(measured_a, measured_b)]
    changes = comparison.compare(pairs, subsets=subsets, metrics=metrics)
    return Comparison(tuple(changes), pairs[0], tuple(subsets))
