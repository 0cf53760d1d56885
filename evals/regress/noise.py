"""Measures how much numbers move when nothing did: one evaluation repeated, encoded afresh each time."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evals.cli.app import Log
from evals.config.models import resolve_model
from evals.files import write_atomically
from evals.packages import packages
from evals.reading import parse_json
from evals.records.manifest import path_component
from evals.records.provenance import host, source_state
from evals.records.queries import PerQuery, per_query
from evals.records.record import read_run
from evals.regress.shuffled import shuffled_ranks
from evals.schema import ConfigError, InvalidError, MissingError

# a suggested floor is a multiple of it
STEP = 0.0005
# rows on the terminal; the JSON has all
SHOWN = 12
# values of a query that are further apart count as a flip
DIFFERS = 1e-12
# by the exit code of the evaluation
ERRORS = {2: ConfigError, 5: MissingError}


class Case(NamedTuple):
    """What is repeated: a benchmark by a model, `data` being a local folder instead of the Hub."""

    benchmark: str
    model: str
    data: Path | None


class Condition(NamedTuple):
    """Under what one repeat runs; None leaves it to the machine."""

    threads: int | None
    batch_images: int | None
    batch_tokens: int | None

    def __str__(self) -> str:
        """`threads 1, batch_images 7, batch_tokens as usual`."""
        return ", ".join(f"{name} {value or 'as usual'}" for name, value in self._asdict().items())


# Sums of floats depend on their order, and the order on the threads and on the size of a pass.
CONDITIONS = (
    Condition(None, None, None),
    Condition(1, 7, 300),
    Condition(None, 16, 4096),
    Condition(1, 33, 700),
)


def measure(times: int, case: Case, log: Log) -> dict[str, Any]:
    """Evaluate `times` times, each in its own process under the next condition, and compare.

    `flip_rate` is the share of queries whose value differs, the mean over all pairs of repeats;
    `spread` is the largest value minus the smallest. The suggested floor is twice the largest
    spread of a recall, rounded up to 0.05 points and never 0. Raises the EvalError of an
    evaluation that fails, and InvalidError where texts with a random image do not rank by chance.
    """
    ref = resolve_model(case.model)
    conditions = [CONDITIONS[i % len(CONDITIONS)] for i in range(times)]
    if ref.encoder != "jina_clip":  # other encoders have no options for the size of a pass
        conditions = [Condition(condition.threads, None, None) for condition in conditions]
    repeats = []
    # a store of its own for each repeat: everything is encoded again
    with tempfile.TemporaryDirectory(prefix="noise-") as folder:
        for i, condition in enumerate(conditions):
            log.info(f"repeat {i + 1} of {times}: {condition}")
            repeats.append(per_query(read_run(_evaluate(case, condition, Path(folder) / str(i)))))
        store = Path(folder) / "0" / "store"
        shuffled = shuffled_ranks(case.benchmark, ref, case.data, store)
    wrong = [row["subset"] for row in shuffled if not row["chance"]]
    if wrong:
        raise InvalidError(
            f"{case.benchmark} {', '.join(wrong)}: texts with another's image do not rank by "
            "chance. Check the data."
        )
    rows = []
    for cell, queries in repeats[0].items():
        for name in queries.values:
            spread = compare([repeat[cell] for repeat in repeats], name)
            rows.append({**cell._asdict(), "metric": name, **spread})
    if not rows:
        raise InvalidError(
            f"{case.benchmark} keeps no value a query: its noise cannot be measured like this."
        )
    # a rank-based mean such as MRR moves less than a recall, whose queries flip as a whole
    recalls = [row["spread"] for row in rows if "@" in row["metric"]]
    largest = max(recalls or [row["spread"] for row in rows])
    return {
        "schema_version": 1,
        "benchmark": case.benchmark,
        "model": case.model,
        "conditions": [condition._asdict() for condition in conditions],
        # - 1e-9: 2 * 0.0005 / 0.0005 must not be rounded up to 3
        "suggested_floor": max(1, math.ceil(2 * largest / STEP - 1e-9)) * STEP,
        "largest_spread": largest,
        "largest_flip_rate": max(row["flip_rate"] for row in rows),
        "shuffled": shuffled,
        "metrics": rows,
        "source": source_state(),
        "host": host(),
        "packages": packages(),
    }


def compare(repeats: Sequence[PerQuery], metric: str) -> dict[str, Any]:
    """Means, spread and flip rate of one metric over repeats of the same queries in one order.

    InvalidError when the repeats hold other queries.
    """
    if any(repeat.ids != repeats[0].ids for repeat in repeats):
        raise InvalidError(
            f"{metric}: the repeats do not hold the same queries; is the data changing?"
        )
    columns = [repeat.values[metric] for repeat in repeats]
    means = [float(np.mean(column)) for column in columns]
    # a mean hides flips that cancel out
    flips = [float(np.mean(np.abs(a - b) > DIFFERS)) for a, b in combinations(columns, 2)]
    return {
        "values": means,
        "spread": max(means) - min(means),
        "flip_rate": float(np.mean(flips)),
        "queries": len(columns[0]),
    }


def write(noise: dict[str, Any], path: Path | None) -> Path:
    """Write the measurement as JSON, below results/noise/ unless `path` is there."""
    name = f"{path_component(noise['benchmark'])}-{path_component(noise['model'])}.json"
    path = path or Path("results/noise") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(noise, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())
    return path


def print_noise(noise: dict[str, Any]) -> None:
    """Show the metrics that moved most, and the floor that follows."""
    from rich.markup import escape

    from evals.views.style import console
    from evals.views.table import FittingTable

    out = console()
    table = FittingTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("subset", ""):
        table.add_column(name)
    table.add_column("dim", justify="right")
    table.add_column("metric")
    for name in ("spread", "flips"):
        table.add_column(name, justify="right")
    most_first = sorted(noise["metrics"], key=lambda row: (-row["spread"], -row["flip_rate"]))
    for row in most_first[:SHOWN]:
        names = row["subset"], row["direction"], str(row["dim"]), row["metric"]
        spread, flips = f"{100 * row['spread']:.3f}", f"{100 * row['flip_rate']:.3f}%"
        table.add_row(*map(escape, names), spread, flips)
    out.print(table)
    out.print(
        "spread: largest less smallest value, in points; "
        "flips: queries whose value differs between two repeats."
    )
    if noise["shuffled"]:
        shares = " ".join(
            f"{row['subset']} {100 * row['mean_rank_share']:.1f}%" for row in noise["shuffled"]
        )
        text = f"pairs mixed up: mean rank at {shares} of the gallery; chance is 50%"
        out.print(text, highlight=False)
    floor = f"suggested floor: {noise['suggested_floor']:.4f}"
    out.print(f"{floor} (twice the largest spread of a recall)", highlight=False)


def _evaluate(case: Case, condition: Condition, folder: Path) -> Path:
    """One evaluation in its own process, and the record that it wrote."""
    command = [sys.executable, "-m", "evals.run", case.benchmark, "--model", case.model, "--json"]
    command += ["--results", str(folder / "runs"), "--store", str(folder / "store")]
    if case.data:
        command += ["--data", str(case.data)]
    if condition.batch_images:
        command.append(f"--batch-images={condition.batch_images}")
    if condition.batch_tokens:
        command.append(f"--batch-tokens={condition.batch_tokens}")
    environment = dict(os.environ)
    if condition.threads:
        environment["OMP_NUM_THREADS"] = str(condition.threads)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if done.returncode:
        # the last line is the message, what stands before it is progress
        reason = done.stderr.strip().split("\n")[-1].removeprefix("error: ")
        kind = ERRORS.get(done.returncode, InvalidError)
        raise kind(f"The evaluation failed with {done.returncode}: {reason}")
    return Path(parse_json(done.stdout, "evals.run --json")["runs"][0]["path"])
