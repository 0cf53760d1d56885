"""Records as a program reads them: one number by its name, tables, and what each query scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.library.frames import import_pandas
from evals.records import record as files
from evals.records.exchange import open_records
from evals.records.places import read_placed
from evals.schema import ConfigError

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("results/runs")


@dataclass(frozen=True)
class Run:
    """A complete record: what was measured, how and on what.

    `evals.evaluate` and `evals.read_run` give one.
    """

    record: files.Run

    @property
    def path(self) -> Path:
        """The folder of the record."""
        return self.record.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What manifest.json says: benchmark, model, settings, packages, data, encoder, cost."""
        return self.record.manifest.raw

    @property
    def benchmark(self) -> str:
        """The name of the benchmark; one that was measured in part ends in `.partial`."""
        return self.record.manifest.benchmark

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.record.manifest.model

    def metrics(self) -> "pd.DataFrame":
        """One row per number of metrics.jsonl.

        Its columns are subset, direction, dim, precision, metric, value, ci_low, ci_high, n_queries,
        n_gallery and tie_rate. Values are fractions in [0, 1] and ranks from 1; `metric` is the
        public name, such as `R@5`. Needs pandas.
        """
        rows = []
        for line in self.record.metrics:
            row = vars(line) | {"metric": line.name}
            # The file has R and 5 apart; the public name holds both.
            del row["k"]
            rows.append(row)
        return import_pandas("metrics()").DataFrame(rows)

    def queries(self) -> "pd.DataFrame":
        """One row per query and dimension: its id, its group (the image), and what it scored.

        Needs pandas.
        """
        # to_pandas would fail, too, and would not say what to install.
        import_pandas("queries()")
        frame: pd.DataFrame = files.read_queries(self.record).to_pandas()
        return frame

    def kept(self) -> "pd.DataFrame":
        """What shorter vectors and fewer bits keep of a metric, as `evals.mrl_sweep` says it.

        One row per direction, dimension, precision and metric, means over subsets: value, `kept`
        (the share of the full width's value in float32) with `kept_low` and `kept_high`, its 95%
        interval paired by query (evals.stats.kept), and `bytes` of a vector. Fractions; NaN where
        there is none, as of the full width's own share. Needs pandas. ConfigError for a record
        without a metric of a sweep.
        """
        from evals.evaluation.points import points_of

        return import_pandas("kept()").DataFrame(points_of(self.record))

    def value(
        self,
        metric: str,
        *,
        subset: str | None = None,
        dim: int | None = None,
        precision: str = "float32",
    ) -> float:
        """One number, such as `run.value("t2i/R@5", subset="en", dim=256)`.

        `metric` is DIRECTION/NAME, or NAME where there is no direction. The widest dimension and
        the only subset are meant unless named. Raises ConfigError when that is no single number,
        and says which there are.
        """
        return self._line(metric, subset, dim, precision).value

    def interval(
        self,
        metric: str,
        *,
        subset: str | None = None,
        dim: int | None = None,
        precision: str = "float32",
    ) -> tuple[float, float] | None:
        """The 95% interval of a number, chosen as by `value`; None where there is none."""
        line = self._line(metric, subset, dim, precision)
        if line.ci_low is None or line.ci_high is None:
            return None
        return line.ci_low, line.ci_high

    @property
    def width(self) -> int:
        """The most dimensions that were scored."""
        return max((line.dim for line in self.record.metrics), default=0)

    def _line(
        self, metric: str, subset: str | None, dim: int | None, precision: str
    ) -> files.MetricLine:
        dim = dim or self.width
        lines = [
            line
            for line in self.record.metrics
            if _key(line) == metric
            and line.dim == dim
            and line.precision == precision
            and subset in (None, line.subset)
        ]
        # Several are several languages: which of them is meant, or their mean, is not ours to choose.
        if len(lines) == 1:
            return lines[0]
        metrics = dict.fromkeys(_key(line) for line in self.record.metrics)
        subsets = dict.fromkeys(line.subset for line in self.record.metrics)
        dims = dict.fromkeys(str(line.dim) for line in self.record.metrics)
        if lines:
            raise ConfigError(
                f"{self.path}: {metric} has a value per subset. Name one, such as "
                f"subset={lines[0].subset!r}; there is {', '.join(subsets)}."
            )
        where = f" of subset {subset!r}" if subset else ""
        raise ConfigError(
            f"{self.path}: no {metric!r}{where} at {dim} dimensions in {precision}. It has the metrics "
            f"{', '.join(metrics)}; the subsets {', '.join(subsets)}; the dimensions {', '.join(dims)}."
        )


def read_run(path: str | Path) -> Run:
    """A record by its folder, checked whole.

    Raises InvalidError naming the file that is broken, and why.
    """
    return Run(files.read_run(Path(path)))


def list_runs(
    results: str | Path = RESULTS, *, benchmark: str | None = None, model: str | None = None
) -> list[Run]:
    """The complete records below a folder, oldest first for each model.

    InvalidError for a broken one, and for one that lies in the place of another or is from the
    future.
    """
    return [
        Run(read_placed(path)) for path in files.list_runs(open_records(results), benchmark, model)
    ]


def _key(line: files.MetricLine) -> str:
    """`t2i/R@5`, or `acc@1` where there is no direction."""
    return f"{line.direction}/{line.name}" if line.direction else line.name
