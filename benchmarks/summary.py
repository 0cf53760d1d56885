"""Writes benchmarks/results/README.md: a line per case that has a limit, of all results that lie beside it.

python -m benchmarks.summary [FOLDER]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import RESULTS
from evals.dashboard.timings import Timing, read_timings
from evals.views.table_files import as_markdown

ABOUT = """# What the benchmarks measured

Made by `python -m benchmarks.summary` from the JSON files here, which hold the conditions, all rounds and all peers.
A share is of a limit that was measured in the same process. A contender is what came nearest to ours in the same run;
below 1 it was faster.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.summary", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=RESULTS, help="benchmarks/results unless given"
    )
    folder = parser.parse_args().folder
    page = folder / "README.md"
    page.write_text(summary(read_timings(folder)), encoding="utf-8")
    print(f"wrote {page}")


def summary(timings: Sequence[Timing]) -> str:
    """The page: one table per device, its cases by date."""
    by_device: dict[str, list[Timing]] = {}
    for timing in timings:
        by_device.setdefault(timing.device, []).append(timing)
    tables = [
        as_markdown([_row(timing) for timing in part], name) for name, part in by_device.items()
    ]
    return "\n".join([ABOUT, *tables])


def _row(timing: Timing) -> dict[str, str]:
    contender = "" if timing.peer is None else f"{timing.peer}: {timing.ratio:.2f} x"
    return {
        "day": timing.date[:10],
        "timing": timing.benchmark.replace("_", " "),
        "case": timing.case,
        "rate": timing.rate,
        "share": f"{timing.share:.1%} of {timing.limit}",
        "contender, its time over ours": contender,
        "outputs": "equal" if timing.agrees else "differ",
        "commit": timing.commit,
    }


if __name__ == "__main__":
    main()
