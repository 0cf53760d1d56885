"""The page of other tools' results: means that their files state, beside our records and never as ours.

They are in no verdict, no gate, no comparison and no history: those need values per query, which a
result file does not hold.
"""

from collections.abc import Iterator
from urllib.parse import urlencode

from evals.analysis.stated import Mean, Stated
from evals.analysis.stated_files import Results
from evals.dashboard.history import History
from evals.dashboard.parts import Column, Page, Row, Table
from evals.dashboard.rows import WHAT, WHERE
from evals.escape import visible
from evals.records.means import MEAN, plain_mean
from evals.records.tool_names import CLIP_BENCHMARK, MTEB, clip_dataset

NONE = Results((), ())
UNNAMED = "no model is named"
PAGE = "foreign"
HOW = (
    "`python -m evals.dashboard FILE …` takes result files and folders of mteb and CLIP_benchmark."
)


def results(foreign: Results, history: History) -> Page:
    """Every mean of every result file, with its tool, model, data and file."""
    rows: list[Row] = []
    for stated, benchmark in with_benchmarks(foreign, history):
        data = ", ".join(f"{name} {value}" for name, value in stated.measured.items())
        for mean in stated.means:
            row = _row(stated, benchmark, mean)
            rows.append({**row, "data": visible(data), "file": visible(str(stated.path))})
    columns = (
        Column("source", "Source", "chip"),
        *WHAT,
        *WHERE,
        Column("value", "Mean, %", "percent"),
        Column("data", "Data as the file names it"),
        Column("file", "File"),
    )
    return Page(
        PAGE,
        "Other tools",
        "What result files of other tools state. Nothing here was measured by us: these are means "
        "without values per query, so they have no interval, and no verdict, gate, comparison or "
        "history uses them.",
        [Table(PAGE, "Means of result files", columns, rows, "None was named.")],
        notes=[
            "A file of mteb stands beside our record when task and revision of the data are equal, "
            "one of CLIP_benchmark when the data's name is: it holds no revision.",
            HOW,
        ],
    )


def leading_rows(foreign: Results, history: History) -> Iterator[Row]:
    """The first metric of each result file in each direction, for tables that begin with it."""
    for stated, benchmark in with_benchmarks(foreign, history):
        for mean, over in _leading(stated):
            row = _row(stated, benchmark, mean)
            which = urlencode({"benchmark": row["benchmark"], "model": row["model"]})
            yield {
                **row,
                "over": visible(over),
                "verdict": row["source"],
                "run": "file",
                "href": f"{PAGE}.html#{which}",
            }


def with_benchmarks(foreign: Results, history: History) -> Iterator[tuple[Stated, str]]:
    """Each result with the benchmark of our records that has the same data, or a name of its own."""
    benchmarks: dict[tuple[str, ...], str] = {}
    for run in history.newest():
        task = run.manifest.mteb
        if task and task.revision and not run.manifest.partial:
            benchmarks[MTEB, task.task, task.revision] = run.manifest.benchmark
        elif not task:
            # the name of a part is that of no data set of CLIP_benchmark
            benchmarks[CLIP_BENCHMARK, clip_dataset(run)] = run.manifest.benchmark
    for stated in foreign.stated:
        if stated.tool == MTEB:
            task_name, revision = stated.measured.values()
            benchmark = benchmarks.get((MTEB, task_name, revision))
            name = f"{task_name} (mteb, revision {revision[:8]})"
        else:
            dataset = stated.measured["dataset"]
            benchmark = benchmarks.get((CLIP_BENCHMARK, dataset))
            name = f"{dataset} (CLIP_benchmark)"
        yield stated, benchmark or name


def _row(stated: Stated, benchmark: str, mean: Mean) -> dict[str, object]:
    texts = {
        "source": f"stated by {stated.source}, not judged",
        "benchmark": benchmark,
        "model": stated.model or UNNAMED,
        "subset": mean.subset,
        "direction": mean.direction,
        "metric": mean.metric,
    }
    # Names of a file somebody sent: what is unseen in them must not turn the text around it.
    shown = {name: visible(text) for name, text in texts.items()}
    return {**shown, "value": mean.value, "low": None, "high": None}


def _leading(stated: Stated) -> Iterator[tuple[Mean, str]]:
    """The means of the first metric, one per direction, and what each is over."""
    first = "R@1" if any(mean.metric == "R@1" for mean in stated.means) else stated.means[0].metric
    by_direction: dict[str, list[Mean]] = {}
    for mean in stated.means:
        if mean.metric == first:
            by_direction.setdefault(mean.direction, []).append(mean)
    for direction, means in by_direction.items():
        if len(means) == 1:
            yield means[0], means[0].subset
        else:
            value = plain_mean(mean.value for mean in means)
            yield Mean("", MEAN, direction, first, value), f"mean of {len(means)}"
