"""Noise: what is measured when nothing changed, from repeats whose differences are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.queries import PerQuery
from evals.regress import noise
from evals.regress.__main__ import app
from evals.schema import InvalidError
from tests.regress_records import record, scores


def repeat(values: list[float]) -> PerQuery:
    ids = [str(i) for i in range(len(values))]
    return PerQuery(ids, ids, {"R@1": np.array(values)})


def test_flips_are_counted_over_all_pairs_of_repeats():
    found = noise.compare([repeat([1, 1, 0, 0]), repeat([1, 1, 0, 0]), repeat([1, 0, 1, 0])], "R@1")
    assert found["values"] == [0.5, 0.5, 0.5] and found["spread"] == 0  # one won, one lost: the mean hides it
    assert found["flip_rate"] == pytest.approx((0 + 0.5 + 0.5) / 3)


def test_repeats_of_other_queries_are_refused():
    with pytest.raises(InvalidError, match="same queries"):
        noise.compare([repeat([1.0]), repeat([1.0, 0.0])], "R@1")


def test_the_floor_is_twice_the_spread_rounded_up(tmp_path, monkeypatch):
    """7 of 1,000 captions differ in the second repeat: 0.7 points, a floor of 1.4."""
    better = np.zeros(1000, dtype=np.int64)
    lost = better.copy()
    lost[:7] = 50
    made = iter([record(tmp_path / "a", {"en": [scores(better)]}), record(tmp_path / "b", {"en": [scores(lost)]})])
    seen = []

    def evaluated(case: noise.Case, condition: noise.Condition, folder: Path) -> Path:
        seen.append((case, condition))
        return next(made)

    monkeypatch.setattr(noise, "_evaluate", evaluated)
    done = CliRunner().invoke(app, ["--noise", "2", "--model", "tiny", "--json", "--out", str(tmp_path / "noise.json")])
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and json.loads((tmp_path / "noise.json").read_text()) == found
    assert found["suggested_floor"] == pytest.approx(0.014) and found["largest_flip_rate"] == 0.007
    assert len({condition for _, condition in seen}) == 2  # passes of other sizes


@pytest.mark.parametrize("exit_code", [3, 5])
def test_a_failing_evaluation_ends_with_its_reason(tmp_path, exit_code):
    from evals.schema import EvalError

    name, model = ("scenes", tmp_path) if exit_code == 3 else ("flickr8k", "tiny")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(EvalError, match="failed with") as error:
        noise._evaluate(
            noise.Case(name, str(model), tmp_path / "none" if exit_code == 5 else None), noise.CONDITIONS[0], tmp_path
        )
    assert error.value.exit_code == exit_code
