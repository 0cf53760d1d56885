"""What a person reads equals what was measured."""

import io

import pytest
from rich.console import Console

from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.outcome import Outcome
from evals.settings import Settings
from evals.views import tables as show
from tests.toys import HashEncoder, image_text


@pytest.fixture
def outcome(tmp_path, monkeypatch) -> Outcome:
    from evals.config.catalog import Benchmark

    parts = image_text([i // 2 for i in range(24)])
    monkeypatch.setattr("evals.data.images.verify", lambda items, indices: None)
    row = Benchmark(
        name="toy",
        title="Toy [bold]",
        task="image_text",
        data="toy",
        subsets=("en", "de"),
        split="test",
        images=12,
        texts=24,
    )
    options = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    return evaluate(
        row,
        Parts({"en": parts, "de": parts}, None),
        HashEncoder(name="a[red]b"),
        [8, 4],
        options,
    )


@pytest.fixture
def page(monkeypatch) -> io.StringIO:
    page = io.StringIO()
    monkeypatch.setattr(show, "console", lambda: Console(file=page, width=120))
    return page


def test_the_table_has_a_row_a_subset_dimension_and_direction_with_intervals(outcome, page):
    show.print_outcomes([outcome])
    text = page.getvalue()
    assert "Toy [bold] · a[red]b" in text  # names are text, not markup
    t2i = next(s for s in outcome.scores["de"] if (s.direction, s.dim) == ("t2i", 4))
    value, (low, high) = t2i.values["R@5"]
    assert f"{100 * value:.1f} [{100 * low:.1f},{100 * high:.1f}]" in text
    rows = [line for line in text.splitlines() if " t2i " in line or " i2t " in line]
    assert len(rows) == 2 * 2 * 2 + 4
    assert sum(line.startswith("mean ") for line in rows) == 4
    assert str(outcome.path) in text.replace("\n", "")


def test_the_json_holds_every_line_of_the_record(outcome):
    (run,) = show.as_json([outcome])["runs"]
    assert len(run["metrics"]) == 2 * 2 * 2 * 7
    assert {m["subset"] for m in run["metrics"]} == {"en", "de"}
