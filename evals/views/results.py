"""What a command measured, shown in full: each result, then the averages of the suites."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.config.suites import Suite
from evals.evaluation.averages import Mean, averages
from evals.evaluation.outcome import Result, Results
from evals.views.tables import as_json, print_averages, print_outcomes

View = Callable[[Sequence[Result]], None]


def show_results(results: Results, *views: View, suites: Sequence[Suite] = ()) -> None:
    """Print what was measured by `views`, or as the plain table; then the averages."""
    for view in views or (print_outcomes,):
        view(results.outcomes)
    print_averages(_means(results, suites), suites)


def results_json(
    results: Results, *, suites: Sequence[Suite] = (), extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The same as a JSON object, failures included, with the entries of `extra`."""
    means = _means(results, suites)
    # Failures are entries of the output, too: a program must not take 7 of 8 benchmarks for all.
    return as_json(results.outcomes, results.failures, means, suites) | dict(extra or {})


def result_rows(results: Results) -> list[dict[str, Any]]:
    """A row per metric of every record: what a table as a file has."""
    rows = []
    for run in results_json(results)["runs"]:
        names = {"benchmark": run["benchmark"], "model": run["model"], "record": run["path"]}
        rows += [names | line for line in run["metrics"]]
    return rows


def _means(results: Results, suites: Sequence[Suite]) -> list[Mean]:
    return [mean for suite in suites for mean in averages(suite, results.outcomes)]
