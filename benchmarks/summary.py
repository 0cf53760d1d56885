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

`python -m benchmarks.summary` writes this page from the JSON files in this folder, which hold the conditions, all rounds
and all peers. *Share* is the share of a limit that was measured in the same process. *Nearest peer* is the fastest other
implementation in the same run, with its time divided by ours: below 1, it was faster than ours. Some early results do
not name their commit.
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
    peer = "" if timing.peer is None else f"{timing.peer}: {timing.ratio:.2f} x"
    return {
        "day": timing.date[:10],
        "timing": timing.benchmark.replace("_", " "),
        "case": timing.case,
        "rate": timing.rate,
        "share": f"{timing.share:.1%} of {timing.limit}",
        "nearest peer, its time over ours": peer,
        "outputs": "equal" if timing.agrees else "differ",
        "commit": timing.commit,
    }


if __name__ == "__main__":
    main()
