"""A sweep's points, table, CSV and figures say what was measured; verdicts on claims follow from planted values."""

import csv
import io
from statistics import fmean

import numpy as np
import pytest
from rich.console import Console

from evals.config.catalog import Benchmark, benchmarks
from evals.config.suites import find_suite
from evals.evaluation.claims import Claim, Subject, check_claims, claims
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.outcome import Outcome, TaskOutcome, TaskScore
from evals.evaluation.points import Point, as_csv, points, points_of
from evals.records.record import read_run
from evals.schema import ConfigError
from evals.settings import Settings
from evals.stats.bootstrap import Interval
from evals.tasks.scores import Scores, Value
from evals.views import sweep_table
from evals.views.claims import print_claims
from evals.views.sweep_figures import (
    FIGURES,
    draw,
    kept_by_dimension,
    pareto,
    score_by_bytes,
    score_by_dimension,
)
from evals.views.tables import mean_over_subsets
from tests import records
from tests.toys import HashEncoder, image_text

NAMES = ("float32", "binary", "binary+rescore10")


@pytest.fixture
def outcome(tmp_path, monkeypatch) -> Outcome:
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
    parts = {
        "en": image_text([i // 2 for i in range(24)]),
        "de": image_text([i % 12 for i in range(36)]),
    }
    options = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    return evaluate(row, Parts(parts, None), HashEncoder(), [8, 4, 1], options, precisions=NAMES)


def point(dim: int, precision: str, value: float, size: int, direction: str = "t2i") -> Point:
    return Point(
        "toy",
        "Toy",
        "m",
        "en",
        direction,
        dim,
        precision,
        "R@5",
        value,
        value - 0.1,
        value + 0.1,
        value,
        size,
        10,
    )


# points


def test_a_point_is_the_mean_over_subsets_and_its_share_of_the_full_width(outcome):
    found = {(p.direction, p.dim, p.precision, p.metric): p for p in points(outcome)}
    assert len(found) == 2 * 3 * 3 * 2
    en, de = (
        {(s.direction, s.dim, s.precision): s for s in outcome.scores[name]}
        for name in ("en", "de")
    )
    for (direction, dim, precision, metric), p in found.items():
        both = [some[direction, dim, precision].values[metric].value for some in (en, de)]
        assert p.value == fmean(both)
        assert p.kept == p.value / found[direction, 8, "float32", metric].value
        assert p.ci_low <= p.value <= p.ci_high
    assert found["t2i", 4, "binary+rescore10", "R@1"].bytes == 1 + 16


def test_the_line_of_means_is_of_float32_alone(outcome):
    for direction in ("t2i", "i2t"):
        values = [
            score.values["R@1"].value
            for scores in outcome.scores.values()
            for score in scores
            if (score.direction, score.dim, score.precision) == (direction, 4, "float32")
        ]
        assert len(values) == 2
        assert mean_over_subsets(outcome, direction, 4, "R@1") == pytest.approx(fmean(values))


def test_the_interval_of_one_subset_is_that_of_the_record(outcome):
    alone = outcome._replace(scores={"en": outcome.scores["en"]})
    for p in points(alone):
        (s,) = [
            s
            for s in outcome.scores["en"]
            if (s.direction, s.dim, s.precision) == (p.direction, p.dim, p.precision)
        ]
        assert (p.ci_low, p.ci_high) == tuple(s.values[p.metric].interval)


def test_a_mean_over_the_same_subset_twice_is_as_sure_as_the_subset(outcome):
    en = outcome.scores["en"]
    once, twice = (
        points(outcome._replace(scores=scores)) for scores in ({"en": en}, {"en": en, "again": en})
    )
    assert fmean(p.ci_high - p.ci_low for p in twice) == pytest.approx(
        fmean(p.ci_high - p.ci_low for p in once), rel=0.1
    )


def test_the_csv_holds_every_point_exactly(outcome):
    found = points(outcome)
    lines = list(csv.DictReader(io.StringIO(as_csv(found).decode())))
    assert [float(line["value"]) for line in lines] == [p.value for p in found]
    assert lines[0]["precision"] == "float32" and list(lines[0]) == list(Point._fields)


def test_the_queries_of_a_sweep_are_worked_out_once_for_all_its_points(outcome, monkeypatch):
    from evals.evaluation import points as module

    assert len(outcome.scores) > 1  # of one subset no query is read
    calls = []
    per_cell = module._values
    monkeypatch.setattr(module, "_values", lambda scores: calls.append(1) or per_cell(scores))
    assert len(points(outcome)) > len(outcome.scores)
    assert len(calls) == sum(map(len, outcome.scores.values()))


def test_a_share_of_nothing_is_no_share(outcome):
    none = {
        name: [s._replace(values={"R@1": Value(0.0, None)}) for s in every]
        for name, every in outcome.scores.items()
    }
    single = outcome._replace(scores={"en": none["en"]})
    assert {p.kept for p in points(single)} == {None}


def test_the_points_of_a_record_are_those_of_its_sweep(outcome):
    found = points(outcome)
    assert {p.ci_low is None for p in found} == {False}
    assert (
        points_of(read_run(outcome.path)) == found
    )  # intervals of means over subsets too, bit for bit


def test_the_points_of_an_mteb_record_are_those_of_its_task(tmp_path):
    scores = [
        TaskScore(
            subset,
            split,
            dim,
            value / dim,
            Interval(0.1, 0.9),
            5,
            {"ndcg": value / dim, "map": 0.3},
        )
        for split, value, subsets in (("test", 2.0, "x"), ("dev", 4.0, "x"), ("train", 1.0, "xy"))
        for dim in (4, 8)
        for subset in subsets
    ]
    lines = [
        records.line(
            name,
            value,
            subset=s.subset,
            direction=s.split,
            dim=s.dim,
            ci_low=s.interval.low if name == "ndcg" else None,
            ci_high=s.interval.high if name == "ndcg" else None,
            n_queries=s.n,
        )
        for s in scores
        for name, value in s.values.items()
    ]
    partial = {"subsets": ["x"]}
    path = records.write(
        tmp_path, lines, benchmark="mteb.Toy", partial=partial, mteb={"task": "Toy"}
    )
    found = points(TaskOutcome(path, "Toy", "m", partial, {}, "ndcg", scores))
    assert points_of(read_run(path)) == found
    of = {(p.benchmark, p.subsets, p.dim): p for p in found}
    assert {place: p.kept for place, p in of.items()} == {
        (f"mteb:Toy/{split}.partial", " ".join(subsets), dim): 8 / dim
        for split, subsets in (("dev", "x"), ("test", "x"), ("train", "xy"))
        for dim in (4, 8)
    }
    assert (
        of["mteb:Toy/dev.partial", "x", 8].ci_high == 0.9
        and of["mteb:Toy/train.partial", "x y", 8].ci_high is None
    )


def test_a_record_without_a_metric_of_sweeps_is_refused(tmp_path):
    path = records.write(tmp_path, [records.line("MRR")], config={"row": {"title": "Toy"}})
    with pytest.raises(ConfigError, match=r"none of its metrics is one of a sweep: R@1"):
        points_of(read_run(path))


# the table


def test_the_table_has_a_row_a_direction_dimension_and_precision(outcome, monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(sweep_table, "console", lambda: Console(file=page, width=100))
    sweep_table.print_sweep([outcome])
    rows = [line for line in page.getvalue().splitlines() if line.startswith(("t2i ", "i2t "))]
    assert len(rows) == 2 * 3 * 3
    assert (
        "Toy [bold] · toy" in page.getvalue()
        and "Mean over 2 subsets: en de." in page.getvalue().replace("\n", " ")
    )
    p = next(p for p in points(outcome) if (p.dim, p.precision, p.metric) == (4, "binary", "R@5"))
    row = next(line for line in rows if line.split()[1:3] == ["4", "binary"])
    assert f"{100 * p.value:.1f} [{100 * p.ci_low:.1f},{100 * p.ci_high:.1f}]" in row
    assert f"{100 * p.kept:.1f}%" in row and row.split()[-1] == "1"
    assert str(outcome.path) in page.getvalue().replace("\n", "")


# figures


def test_figures_name_what_they_show_on_honest_axes(outcome):
    found = [p for p in points(outcome) if p.metric == "R@5"]
    figure = score_by_dimension(found)
    left, right = figure.axes
    assert left.get_xscale() == "log" and left.get_ylim()[0] == 0
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "4", "8"]
    assert (
        "dimensions" in left.get_xlabel()
        and "R@5 (%)" in left.get_ylabel()
        and "95%" in left.get_ylabel()
    )
    assert "n = 60" in left.get_title() and "n = 24" in right.get_title()
    title = figure.get_suptitle()
    assert "Toy" in title and "R@5" in title and "mean over 2 subsets" in title
    line = left.get_lines()[0]
    want = sorted(
        (p.dim, 100 * p.value) for p in found if (p.direction, p.precision) == ("t2i", "float32")
    )
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == want
    assert len(left.collections) == 3  # a band for each precision


def test_an_axis_of_shares_that_does_not_begin_at_zero_says_so():
    ax = kept_by_dimension([point(8, "float32", 1.0, 32), point(4, "float32", 0.9, 16)]).axes[0]
    assert ax.get_ylim()[0] > 0 and f"axis begins at {ax.get_ylim()[0]:.0f}" in ax.get_ylabel()
    ax = kept_by_dimension([point(8, "float32", 1.0, 32), point(4, "float32", 0.05, 16)]).axes[0]
    assert ax.get_ylim()[0] == 0 and "begins" not in ax.get_ylabel()


def test_the_front_is_what_nothing_smaller_beats():
    some = [
        point(8, "float32", 0.9, 32),
        point(4, "float32", 0.7, 16),
        point(8, "int8", 0.9, 8),
        point(8, "binary", 0.5, 1),
    ]
    assert [(p.precision, p.dim) for p in pareto(some)] == [("binary", 8), ("int8", 8)]
    ax = score_by_bytes(some).axes[0]
    assert "bytes" in ax.get_xlabel() and ax.get_xscale() == "log"
    assert "Pareto front" in [line.get_label() for line in ax.get_lines()]


def test_numbers_that_would_cover_each_other_are_left_out():
    sizes = {64: 256, 128: 512, 256: 528, 768: 3072, 1024: 4096}
    some = [point(dim, "float32", dim / 2000, size) for dim, size in sizes.items()]
    assert [text.get_text() for text in score_by_bytes(some).axes[0].texts] == ["64", "128", "768"]
    wide = [*some, point(1, "float32", 0.0, 4)]
    ticks = [tick.get_text() for tick in score_by_dimension(wide).axes[0].get_xticklabels()]
    assert ticks == ["1", "64", "128", "256", "", "1,024"]


def test_a_long_title_is_broken_into_lines():
    some = [
        point(8, "float32", 0.9, 32)._replace(
            model="sentence-transformers/paraphrase-multilingual-mpnet-base-v2"
        )
    ]
    figure = kept_by_dimension(some)
    assert (
        max(map(len, figure.get_suptitle().split("\n")))
        <= 13 * figure.get_figwidth()
        < len(figure.get_suptitle())
    )


def test_figures_are_written_for_every_metric(outcome, tmp_path):
    paths = draw(points(outcome), tmp_path / "new" / "figures")
    assert len(paths) == len(set(paths)) == 2 * len(FIGURES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_terminal_gets_a_bar_for_each_dimension_as_long_as_its_score(outcome):
    terminal = Console(width=100, force_terminal=True, color_system=None, file=io.StringIO())
    terminal.print(sweep_table.bars(points(outcome)))
    lines = [
        line for line in terminal.file.getvalue().splitlines() if "█" in line or " 0.0" in line
    ]
    values = [p.value for p in points(outcome) if (p.metric, p.precision) == ("R@1", "float32")]
    assert len(lines) == len(values) > 2
    for line in lines:
        assert abs(line.count("█") - sweep_table.BAR_WIDTH * float(line.split()[-1]) / 100) <= 1


# published statements


def planted(
    name: str, t2i: dict[int, float], *, model: str = "jina-clip-v2", partial: dict | None = None
) -> Outcome:
    """A row whose every subset has these R@5 by dimension in both directions."""
    row = benchmarks()[name]
    empty = (np.zeros(0), ["q"], ["g"], 1, 0.0)
    columns: dict = {}
    every = [
        Scores(direction, dim, {"R@5": Value(value, None)}, columns, *empty[1:])
        for dim, value in t2i.items()
        for direction in ("t2i", "i2t")
    ]
    return Outcome(row, row, model, partial, {}, dict.fromkeys(row.subsets, every))  # type: ignore[arg-type]


PUBLISHED = {"jina-clip-v2": Subject("jina-clip-v2 (the Hub)", published=True)}
SIX = ("xm3600-first", "flickr-quoted", "flickr8k-quoted", "coco", "xtd", "xtd200")


def verdicts(values: dict[int, float], names=SIX, **options) -> dict:
    return {
        v.claim.name: v
        for v in check_claims([planted(name, values, **options) for name in names], PUBLISHED)
    }


def test_verdicts_follow_from_the_measured_shares():
    found = verdicts({1024: 0.8, 256: 0.796, 64: 0.72})
    assert found["cross-modal-64-t2i"].relative == pytest.approx(0.9)
    assert found["cross-modal-64-t2i"].points == pytest.approx(0.92)
    assert found["cross-modal-64-t2i"].verdict == "reproduced"
    assert found["cross-modal-256-t2i"].verdict == "reproduced"  # 99.5 relative
    assert (
        found["cross-modal-64-i2t"].verdict == "deviates"
    )  # 90 relative, 92 in points, published 93
    assert found["sts-64"].verdict == "not run"
    assert verdicts({1024: 0.8, 256: 0.78, 64: 0.5})["cross-modal-256-t2i"].verdict == "deviates"


def test_a_statement_without_all_its_parts_is_not_run():
    found = verdicts({1024: 0.8, 64: 0.72}, names=SIX[:5])["cross-modal-64-t2i"]
    assert (found.verdict, found.relative, found.missing) == (
        "not run",
        None,
        ["paper-v2: XTD200 (27 languages)"],
    )
    assert (
        len(verdicts({1024: 0.8, 64: 0.72}, partial={"limit": 5})["cross-modal-64-t2i"].missing)
        == 6
    )
    assert verdicts({512: 0.8, 64: 0.72})["cross-modal-64-t2i"].verdict == "not run"


def test_another_model_is_measured_but_not_judged(capsys):
    found = check_claims(
        [planted(name, {1024: 0.8, 64: 0.4}, model="rival") for name in SIX], PUBLISHED
    )
    other = {v.claim.name: v for v in found if v.model == "rival"}
    assert other["cross-modal-64-t2i"].verdict == "other model"
    assert {v.verdict for v in found if v.model == "jina-clip-v2"} == {"not run"}
    print_claims(found)
    printed = capsys.readouterr().out
    assert (
        "50.0 rel, 60.0 pts" in printed
        and "other model: rival" in printed
        and "not run (0 of 6 parts)" in printed
    )


def test_who_only_has_the_published_name_is_another_model(capsys):
    sweep = [planted(name, {1024: 0.8, 256: 0.796}) for name in SIX]
    local = {"jina-clip-v2": Subject("jina-clip-v2 (/x/jina-clip-v2, weights 1a2b)", False)}
    found = check_claims(sweep, local)
    by_name = {v.claim.name: v for v in found if not v.missing}
    assert by_name and {v.verdict for v in by_name.values()} == {"other model"}
    print_claims(found)
    assert "/x/jina-clip-v2" in " ".join(capsys.readouterr().out.split())


def test_a_stand_in_is_judged_and_named(capsys):
    sweep = [planted(name, {1024: 0.8, 256: 0.796}, model="mine") for name in SIX]
    mine = Subject("mine (/runs/7)", published=False, stands_for="jina-clip-v2")
    found = [v for v in check_claims(sweep, {"mine": mine}) if not v.missing]
    assert found and {v.verdict for v in found} <= {"reproduced", "deviates"}
    assert {v.stands_in for v in found} == {"mine (/runs/7)"}
    print_claims(found)
    assert "* measured: mine (/runs/7), in the place of jina-clip-v2" in " ".join(
        capsys.readouterr().out.split()
    )


def test_every_part_of_a_statement_is_known_or_of_a_suite_to_come():
    rows = benchmarks()
    for claim in claims().values():
        for part in claim.of:
            if ": " in part and not part.startswith("classification-37"):
                suite, _, title = part.partition(": ")
                assert title in find_suite(suite).averages, part
            elif ": " not in part:
                name, _, subset = part.partition("/")
                assert subset == "*" or subset in rows[name].subsets


def test_a_share_just_outside_the_rounding_deviates():
    claim = Claim(
        name="x",
        statement="s",
        source="s",
        kept=0.9,
        tolerance=0.005,
        dim=64,
        direction="t2i",
        metric="R@5",
        of=("coco/en",),
    )
    for value, verdict in ((0.9049, "reproduced"), (0.9051, "deviates"), (0.8949, "deviates")):
        (found,) = check_claims([planted("coco", {1024: 1.0, 64: value})], PUBLISHED, {"x": claim})
        assert found.verdict == verdict
