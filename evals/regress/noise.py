"""How much the numbers move when nothing did: an evaluation repeated in passes of other sizes, encoded afresh each time."""

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
from evals.config.catalog import resolve_model
from evals.files import write_atomically
from evals.records.provenance import host, packages, source_state
from evals.records.queries import PerQuery, per_query
from evals.records.record import path_component, read_run
from evals.regress.shuffled import shuffled_ranks
from evals.schema import ConfigError, InvalidError, MissingError

STEP = 0.0005  # a suggested floor is a multiple of it


class Case(NamedTuple):
    """What is repeated: a benchmark by a model, from a local folder if one is given."""

    benchmark: str
    model: str
    data: Path | None


class Condition(NamedTuple):
    """Under what one repeat runs; None leaves it to the machine."""

    threads: int | None
    batch_images: int | None
    batch_tokens: int | None


CONDITIONS = (
    Condition(None, None, None),
    Condition(1, 7, 300),
    Condition(None, 16, 4096),
    Condition(1, 33, 700),
)


def measure(times: int, case: Case, log: Log) -> dict[str, Any]:
    """Evaluate so often, each time in a process of its own under the next condition, and compare query by query.

    `flip_rate` is the share of queries whose value differs, the mean over all pairs of repeats; `spread` the largest value
    minus the smallest. The suggested floor is twice the largest spread of a recall, rounded up to 0.05 points and never 0.
    Raises the EvalError of an evaluation that fails.
    """
    conditions = [CONDITIONS[i % len(CONDITIONS)] for i in range(times)]
    if resolve_model(case.model).encoder != "jina_clip":
        conditions = [
            Condition(condition.threads, None, None) for condition in conditions
        ]  # others have no such options
    repeats = []
    with tempfile.TemporaryDirectory(prefix="noise-") as folder:
        for i, condition in enumerate(conditions):
            told = ", ".join(
                f"{name} {value or 'as usual'}" for name, value in condition._asdict().items()
            )
            log.info(f"repeat {i + 1} of {times}: {told}")
            repeats.append(per_query(read_run(_evaluate(case, condition, Path(folder) / str(i)))))
        shuffled = shuffled_ranks(
            case.benchmark, resolve_model(case.model), case.data, Path(folder) / "0" / "store"
        )
    if wrong := [each["subset"] for each in shuffled if not each["chance"]]:
        raise InvalidError(
            f"{case.benchmark} {', '.join(wrong)}: texts with another's image do not rank by chance. Check the data."
        )
    rows = [
        {**cell._asdict(), "metric": name} | compare([repeat[cell] for repeat in repeats], name)
        for cell, queries in repeats[0].items()
        for name in queries.values
    ]
    if not rows:
        raise InvalidError(
            f"{case.benchmark} keeps no value a query: its noise cannot be measured like this."
        )
    spread = max(
        (row["spread"] for row in rows if "@" in row["metric"]),
        default=max(row["spread"] for row in rows),
    )
    return {
        "schema_version": 1,
        "benchmark": case.benchmark,
        "model": case.model,
        "conditions": [condition._asdict() for condition in conditions],
        "suggested_floor": max(1, math.ceil(2 * spread / STEP - 1e-9)) * STEP,
        "largest_spread": spread,
        "largest_flip_rate": max(row["flip_rate"] for row in rows),
        "shuffled": shuffled,
        "metrics": rows,
        "source": source_state(),
        "host": host(),
        "packages": packages(),
    }


def compare(repeats: Sequence[PerQuery], metric: str) -> dict[str, Any]:
    """Means, spread and flip rate of one metric over repeats that hold the same queries in the same order."""
    if any(repeat.ids != repeats[0].ids for repeat in repeats):
        raise InvalidError(
            f"{metric}: the repeats do not hold the same queries; is the data changing?"
        )
    columns = [repeat.values[metric] for repeat in repeats]
    means = [float(np.mean(column)) for column in columns]
    flips = [float(np.mean(np.abs(a - b) > 1e-12)) for a, b in combinations(columns, 2)]
    return {
        "values": means,
        "spread": max(means) - min(means),
        "flip_rate": float(np.mean(flips)),
        "queries": len(columns[0]),
    }


def write(found: dict[str, Any], path: Path | None) -> Path:
    """Write it as JSON, to results/noise/ unless told otherwise."""
    name = f"{path_component(found['benchmark'])}-{path_component(found['model'])}.json"
    path = path or Path("results/noise") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(
        path, (json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )
    return path


def print_noise(found: dict[str, Any]) -> None:
    """The recalls that moved most, and the floor that follows."""
    from rich.markup import escape
    from rich.table import Table

    from evals.views.tables import console

    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name, justify in (
        ("subset", "left"),
        ("", "left"),
        ("dim", "right"),
        ("metric", "left"),
        ("spread", "right"),
        ("flips", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in sorted(found["metrics"], key=lambda row: (-row["spread"], -row["flip_rate"]))[:12]:
        cells = row["subset"], row["direction"], str(row["dim"]), row["metric"]
        table.add_row(
            *map(escape, cells), f"{100 * row['spread']:.3f}", f"{100 * row['flip_rate']:.3f}%"
        )
    out.print(table)
    out.print(
        "spread: largest less smallest value, in points; flips: queries whose value differs between two repeats."
    )
    if found["shuffled"]:
        shares = " ".join(
            f"{each['subset']} {100 * each['mean_rank_share']:.1f}%" for each in found["shuffled"]
        )
        out.print(
            f"pairs mixed up: mean rank at {shares} of the gallery; chance is 50%", highlight=False
        )
    out.print(
        f"suggested floor: {found['suggested_floor']:.4f} (twice the largest spread of a recall)",
        highlight=False,
    )


def _evaluate(case: Case, condition: Condition, folder: Path) -> Path:
    """One evaluation in a process of its own; the record it wrote."""
    places = ["--results", folder / "runs", "--store", folder / "store", "--json"]
    options = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in condition._asdict().items()
        if name != "threads" and value
    ]
    data = ["--data", case.data] if case.data else []
    threads = {"OMP_NUM_THREADS": str(condition.threads)} if condition.threads else {}
    command = [
        sys.executable,
        "-m",
        "evals.run",
        case.benchmark,
        "--model",
        case.model,
        *options,
        *map(str, [*data, *places]),
    ]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, env={**os.environ, **threads}, check=False
    )
    if done.returncode:
        told = done.stderr.strip().split("\n")[-1].removeprefix("error: ")
        kind = {2: ConfigError, 5: MissingError}.get(done.returncode, InvalidError)
        raise kind(f"The evaluation failed with {done.returncode}: {told}")
    return Path(json.loads(done.stdout)["runs"][0]["path"])
