"""The two error rates of evals.watch that docs/watching.md states, by more runs than the tests take.

python -m tests.simulation_watch [--runs 2000] [--drops 500]
"""

import argparse

import numpy as np

from tests.test_watch import CHECKPOINTS, alarms, changes_of


def false_alarms(runs: int, seed: int = 17) -> int:
    """How many of so many runs without a drop raise an alarm."""
    rng = np.random.default_rng(seed)
    return sum(bool(alarms(changes_of(rng, None))) for _ in range(runs))


def drops_called(runs: int, seed: int = 18) -> int:
    """How many drops of one point are called within two evaluations."""
    rng = np.random.default_rng(seed)
    n_called = 0
    for number in range(runs):
        # The last checkpoint is left out: behind it there is no second evaluation.
        drop_at = number % (CHECKPOINTS - 1)
        called = [place for place in alarms(changes_of(rng, drop_at)) if place >= drop_at]
        n_called += bool(called) and called[0] <= drop_at + 1
    return n_called


def main() -> None:
    """Print both rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--drops", type=int, default=500)
    args = parser.parse_args()
    alarmed = false_alarms(args.runs)
    print(f"runs without a drop that raise an alarm: {alarmed} of {args.runs:,}")
    print(f"drops called within two evaluations: {drops_called(args.drops)} of {args.drops:,}")


if __name__ == "__main__":
    main()
