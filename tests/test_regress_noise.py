"""Noise: what is measured when nothing changed, from repeats whose differences are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.config.catalog import benchmarks
from evals.config.models import ModelRef
from evals.evaluation.load import Parts
from evals.records.queries import PerQuery
from evals.regress import noise, shuffled
from evals.regress.__main__ import app
from evals.schema import EvalError, InvalidError
from tests.regress_records import record, scores
from tests.toys import HashEncoder, image_text


def repeat(values: list[float]) -> PerQuery:
    ids = [str(i) for i in range(len(values))]
    return PerQuery(ids, ids, {"R@1": np.array(values)})


def test_flips_are_counted_over_all_pairs_of_repeats():
    found = noise.compare([repeat([1, 1, 0, 0]), repeat([1, 1, 0, 0]), repeat([1, 0, 1, 0])], "R@1")
    assert (
        found["values"] == [0.5, 0.5, 0.5] and found["spread"] == 0
    )  # one won, one lost: the mean hides it
    assert found["flip_rate"] == pytest.approx((0 + 0.5 + 0.5) / 3)


def test_repeats_of_other_queries_are_refused():
    with pytest.raises(InvalidError, match="same queries"):
        noise.compare([repeat([1.0]), repeat([1.0, 0.0])], "R@1")


def test_the_floor_is_twice_the_spread_rounded_up(tmp_path, monkeypatch):
    """7 of 1,000 captions differ in the second repeat: 0.7 points, a floor of 1.4."""
    better = np.zeros(1000, dtype=np.int64)
    lost = better.copy()
    lost[:7] = 50
    made = iter(
        [
            record(tmp_path / "a", {"en": [scores(better)]}),
            record(tmp_path / "b", {"en": [scores(lost)]}),
        ]
    )
    seen = []

    def evaluated(case: noise.Case, condition: noise.Condition, folder: Path) -> Path:
        seen.append((case, condition))
        return next(made)

    monkeypatch.setattr(noise, "_evaluate", evaluated)
    monkeypatch.setattr(noise, "shuffled_ranks", lambda *_: [])
    done = CliRunner().invoke(
        app, ["--noise", "2", "--model", "tiny", "--json", "--out", str(tmp_path / "noise.json")]
    )
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and json.loads((tmp_path / "noise.json").read_text()) == found
    assert found["suggested_floor"] == pytest.approx(0.014) and found["largest_flip_rate"] == 0.007
    assert len({condition for _, condition in seen}) == 2  # passes of other sizes


@pytest.mark.parametrize(("benchmark", "exit_code"), [("no-such-row", 2), ("flickr8k", 5)])
def test_a_failing_evaluation_ends_with_its_reason(tmp_path, benchmark, exit_code):
    with pytest.raises(EvalError, match="failed with") as error:
        noise._evaluate(
            noise.Case(benchmark, "tiny", tmp_path / "none"), noise.CONDITIONS[0], tmp_path
        )
    assert error.value.exit_code == exit_code


def test_mixed_up_pairs_rank_by_chance_and_right_pairs_do_not(tmp_path, monkeypatch):
    """An encoder that knows the answer: captions of an image have the row of the image."""
    data = image_text([i // 2 for i in range(400)])
    row = benchmarks()["flickr8k"]
    rows = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)

    class Knowing(HashEncoder):
        def encode(self, side):
            return rows if side.kind == "image" else rows[data.image_of_text]

    monkeypatch.setattr(shuffled, "benchmarks", lambda: {"toy": row})
    monkeypatch.setattr("evals.regress.shuffled.build_encoder", lambda ref, options: Knowing(16))
    monkeypatch.setattr(
        "evals.regress.shuffled.load_parts", lambda row, options: Parts({"en": data}, None)
    )
    ref = ModelRef("toy", "jina_clip", tmp_path)
    (found,) = shuffled.shuffled_ranks("toy", ref, None, tmp_path / "a")
    assert found["chance"] and 0.4 < found["mean_rank_share"] < 0.6
    monkeypatch.setattr(shuffled, "mixed_up", lambda data: data)
    (found,) = shuffled.shuffled_ranks("toy", ref, None, tmp_path / "b")
    assert not found["chance"] and found["mean_rank_share"] == pytest.approx(1 / 201)
