"""Planned comparisons whose truth is known: how often the planned number of images shows the difference.

python -m tests.simulation_plan [--comparisons 2000]

A pilot of two runs with a true drop (tests/simulation.py) tells the variance, and the closed form the
images that see the drop with the power that is asked for. So many are simulated, compared as
evals.compare does, and the drops found are counted.
"""

import argparse
from typing import NamedTuple

import numpy as np

from evals.analysis.paired_values import PairedBenchmark, PairedPart
from evals.analysis.planning import Plan, plan_pair
from evals.stats.sample_size import Design
from tests.simulation import comparisons, hits, table

PILOT = 4000  # images


class Case(NamedTuple):
    """How unlike two runs are, the true drop, and the power that is planned."""

    noise: float
    drop: float
    power: float


CASES = (
    Case(0.1, 0.01, 0.8),
    Case(0.3, 0.02, 0.8),
    Case(0.3, 0.02, 0.5),
    Case(0.3, 0.03, 0.9),
    Case(1.0, 0.05, 0.8),
    Case(1.0, 0.1, 0.8),
)


def pilot(case: Case, images: int = PILOT) -> Plan:
    """The plan that a pilot of so many images leads to."""
    first, second, image = hits(2**40, case.noise, case.drop, images)
    part = PairedPart("t2i", "en", 1.0, np.stack([first, second], axis=1), image)
    benchmark = PairedBenchmark("simulated", "R@1", [part], images)
    return plan_pair(benchmark, [case.drop], Design(power=case.power))


def found(case: Case, images: int, count: int, *, resamples: int = 2000) -> float:
    """The share of comparisons of so many images with p below 0.05."""
    changes = comparisons(range(count), case.noise, case.drop, images=images, resamples=resamples)
    return float(np.mean([change.p is not None and change.p < 0.05 for change in changes]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=2000, help="of each kind")
    count = parser.parse_args().comparisons
    print(f"{count:,} comparisons of each kind, variance from a pilot of {PILOT:,} images:\n")
    rows = []
    for case in CASES:
        plan = pilot(case)
        images = plan.answers[0].images
        cells = [f"{100 * case.drop:g}", f"{plan.correlation:.2f}", f"{images:,}"]
        rows.append([*cells, case.power, found(case, images, count)])
    table(["true drop, points", "r", "images", "planned power", "found"], iter(rows))


if __name__ == "__main__":
    main()
