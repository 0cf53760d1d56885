"""Two runs compared from a program: the changes by metric, as a table and as one answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evals.library.frames import import_pandas
from evals.library.runs import Run
from evals.records.selection import Measured

if TYPE_CHECKING:
    import pandas as pd

    from evals.analysis.comparison import Change


@dataclass(frozen=True)
class Comparison:
    """What changed from run a to run b, by metric: paired by query, clustered by image."""

    changes: tuple["Change", ...]

    @property
    def fell(self) -> bool:
        """Whether a primary metric dropped by more than 0.3 points, and the one-sided 95% bound says so too."""
        return any(change.fell for change in self.changes if change.primary)

    def table(self) -> "pd.DataFrame":
        """One row per change: both values, the difference with its 95% interval, p and p_holm, wins and losses. Needs pandas."""
        rows = []
        for change in self.changes:
            fields, difference = change._asdict(), change.difference
            del fields["difference"]
            interval = difference.interval
            rows.append(
                fields
                | {
                    "difference": difference.value,
                    "ci_low": interval.low if interval else None,
                    "ci_high": interval.high if interval else None,
                    "p": difference.p,
                    "wins": difference.wins,
                    "losses": difference.losses,
                    "fell": change.fell,
                }
            )
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
    """Two runs of one benchmark, or one run at two dimensions or precisions; changes are b less a.

    The widest dimension of each run is meant unless `dims` names others. Raises NotComparableError
    with reason and remedy for runs that do not measure the same thing.
    """
    from evals.analysis import comparison

    pair = tuple(
        Measured(run.record, dim or run.width, precision)
        for run, dim, precision in zip((a, b), dims, precisions, strict=True)
    )
    changes = comparison.compare([(pair[0], pair[1])], subsets=subsets, metrics=metrics)
    return Comparison(tuple(changes))
