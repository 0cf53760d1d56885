"""Models are ranked by their scores over the same queries, with weights that are stated; what cannot be paired is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.analysis.standings import Standings, rank_models
from evals.records.entrants import entrants
from evals.records.record import read_run
from evals.schema import ConfigError, MissingError, NotComparableError
from evals.stats.all_pairs import Ranks
from evals.views import standings as views
from tests import records
from tests.commands import run

N = 60  # queries, two of each image


def record(root: Path, model: str, share: float, *, benchmark: str = "toy", n: int = N) -> Path:
    """A record in which the first so many of the queries are hits."""
    hits = np.arange(n) < round(share * n)
    table = records.queries(n, better=(1 - hits).tolist(), ndcg10=hits.astype(float).tolist())
    lines = [records.line(name, value=share) for name in ("R@1", "R@5")]
    model_encoder = records.encoder(model, weights=model.ljust(64, "0"))
    return records.write(
        root, lines, table, benchmark=benchmark, model=model, encoder=model_encoder
    )


def ranking(root: Path, *names: str, benchmarks: Any = None, **options: Any) -> Standings:
    return rank_models(entrants(names, root, benchmarks), flips=1000, **options)


def command(*arguments: object, root: Path) -> Any:
    return run(*arguments, "--results", root, cwd=root, module="evals.rank")


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three models: two that differ in two images, and one that is far behind."""
    for model, share in (("low", 0.2), ("high", 0.8), ("close", 0.8 - 4 / N)):
        record(tmp_path, model, share)
    return tmp_path


def test_models_stand_in_the_order_of_their_scores(three: Path) -> None:
    result = ranking(three, "low", "close", "high")
    assert [(s.name, s.rank) for s in result.standings] == [
        ("high@8", 1),
        ("close@8", 2),
        ("low@8", 3),
    ]
    assert [s.score for s in result.standings] == pytest.approx([0.8, 0.8 - 4 / N, 0.2])


def test_who_cannot_be_told_apart_shares_a_letter_and_ranks(three: Path) -> None:
    result = ranking(three, "low", "close", "high")
    high, close, low = result.standings
    assert high.groups == close.groups == [0] and low.groups == [1]
    assert result.groups == [["high@8", "close@8"], ["low@8"]]
    assert high.ranks == close.ranks == high.ranks_at_once == Ranks(1, 2)
    assert low.ranks == low.ranks_at_once == Ranks(3, 3)
    assert result.may_be_best == ["high@8", "close@8"]
    assert [pair.apart for pair in result.pairs] == [False, True, True]


def test_the_order_in_which_models_are_named_changes_nothing(three: Path) -> None:
    assert ranking(three, "low", "close", "high") == ranking(three, "high", "low", "close")


def test_models_that_share_the_best_score_are_named_together(tmp_path: Path) -> None:
    for model, share in (("a", 0.5), ("b", 0.5), ("c", 0.5 - 4 / N)):
        record(tmp_path, model, share)
    sentence = views.verdict(ranking(tmp_path, "a", "b", "c"))
    assert sentence == "a@8 and b@8 share the best score; these may be best, too: c@8."


def test_equal_models_have_one_rank(tmp_path: Path) -> None:
    for model in ("a", "b", "c"):
        record(tmp_path, model, 0.5 if model != "c" else 0.25)
    assert [s.rank for s in ranking(tmp_path, "a", "b", "c").standings] == [1, 1, 3]


def test_models_of_one_score_are_said_to_have_it(tmp_path: Path) -> None:
    for model in ("a", "b"):
        record(tmp_path, model, 0.5)
    done = run("a", "b", "--results", tmp_path, cwd=tmp_path, module="evals.rank")
    assert "a@8 and b@8 have the same score, and nothing tells them apart." in done.stdout
    twice = run("a", "a", "--results", tmp_path, cwd=tmp_path, module="evals.rank")
    assert twice.returncode == 2 and "a is named 2 times" in twice.stderr


def test_run_files_have_no_dimension_and_no_images_and_need_judgements(tmp_path: Path) -> None:
    (tmp_path / "q.qrels").write_text("q1 0 d1 1\nq2 0 d2 1\n")
    for name, best in (("a", "d1"), ("b", "d2")):
        (tmp_path / f"{name}.run").write_text(f"q1 Q0 {best} 1 1 {name}\nq2 Q0 d2 1 1 {name}\n")
    files = ("a.run", "b.run")
    done = run(*files, "--qrels", "q.qrels", cwd=tmp_path, module="evals.rank")
    assert done.returncode == 0, done.stderr
    assert "a has the best score; these may be best, too: b." in done.stdout
    assert "q: nDCG@10; weight 1; 2 queries\n" in done.stdout
    done = run(*files, cwd=tmp_path, module="evals.rank")
    assert done.returncode == 2 and "a.run: a file. To score it as a TREC run, add" in done.stderr


def test_a_dimension_that_a_record_lacks_is_told_with_its_benchmark(tmp_path: Path) -> None:
    path = record(tmp_path, "a", 0.5)
    done = run(f"{path}@3", path, "--results", tmp_path, cwd=tmp_path, module="evals.rank")
    assert done.returncode == 2 and "no record of toy was scored at that" in done.stderr


def test_one_benchmarks_interval_is_the_records(scenes_run: Path) -> None:
    names = (str(scenes_run), f"{scenes_run}@64")
    result = rank_models(entrants(names, scenes_run), subsets=["en"], directions=["t2i"], flips=200)
    for standing, dim in zip(result.standings, (256, 64), strict=True):
        line = next(
            line
            for line in read_run(scenes_run).metrics
            if (line.subset, line.direction, line.dim, line.name) == ("en", "t2i", dim, "R@1")
        )
        assert standing.score == pytest.approx(line.value)
        assert standing.interval == pytest.approx((line.ci_low, line.ci_high))


def test_a_pair_has_the_difference_and_interval_of_a_comparison(scenes_run: Path) -> None:
    names = (str(scenes_run), f"{scenes_run}@64")
    (pair,) = rank_models(
        entrants(names, scenes_run), subsets=["en"], directions=["t2i"], flips=2000
    ).pairs
    done = run(
        f"{scenes_run}@64", scenes_run, "--subsets", "en", "--no-figures", "--json",
        cwd=scenes_run, module="evals.compare",
    )  # fmt: skip
    changes = json.loads(done.stdout)["changes"]
    change = next(c for c in changes if (c["direction"], c["metric"]) == ("t2i", "R@1"))
    assert pair.difference == pytest.approx(change["difference"])
    assert pair.interval == pytest.approx((change["ci_low"], change["ci_high"]), abs=1e-9)
    assert pair.p == pytest.approx(change["p"], abs=0.01)


def test_benchmarks_are_averaged_by_stated_weights(tmp_path: Path) -> None:
    for model, shares in {"a": (0.9, 0.2), "b": (0.5, 0.5)}.items():
        for benchmark, share, n in zip(("one", "two"), shares, (20, 60), strict=True):
            record(tmp_path, model, share, benchmark=benchmark, n=n)
    scores = {}
    for weighting in ("equal", "queries", "one=3,two=1"):
        result = ranking(tmp_path, "a", "b", weighting=weighting)
        assert sum(info.weight for info in result.benchmarks) == pytest.approx(1)
        scores[weighting] = {s.name: s.score for s in result.standings}["a@8"]
    assert scores["equal"] == pytest.approx(0.55)
    assert scores["queries"] == pytest.approx((0.9 * 20 + 0.2 * 60) / 80)
    assert scores["one=3,two=1"] == pytest.approx(0.9 * 0.75 + 0.2 * 0.25)


def test_images_of_two_benchmarks_are_drawn_apart(tmp_path: Path) -> None:
    for model, share in {"a": 0.5, "b": 0.4}.items():
        for benchmark in ("one", "two"):
            record(tmp_path, model, share, benchmark=benchmark)
    width = {}
    for benchmarks in (["one"], ["one", "two"]):
        interval = ranking(tmp_path, "a", "b", benchmarks=benchmarks).pairs[0].interval
        assert interval is not None
        width[len(benchmarks)] = interval.high - interval.low
    assert width[2] == pytest.approx(width[1] / 2**0.5, rel=0.15)


@pytest.mark.parametrize("weights", ["one=1", "one=1,two=0", "one=1,two=x", "heavy"])
def test_weights_that_do_not_name_all_benchmarks_are_refused(tmp_path: Path, weights: str) -> None:
    for model in ("a", "b"):
        for benchmark in ("one", "two"):
            record(tmp_path, model, 0.5, benchmark=benchmark)
    with pytest.raises(ConfigError, match="--weights"):
        ranking(tmp_path, "a", "b", weighting=weights)


def test_records_of_a_model_on_two_benchmarks_are_one_entrant(tmp_path: Path) -> None:
    paths = [
        record(tmp_path, model, share, benchmark=benchmark)
        for model, share in (("a", 0.9), ("b", 0.1))
        for benchmark in ("one", "two")
    ]
    result = ranking(tmp_path, *map(str, paths))
    assert [s.name for s in result.standings] == ["a@8", "b@8"]
    assert [info.name for info in result.benchmarks] == ["one", "two"]


def test_two_records_of_one_model_are_two_entrants_named_by_their_folders(tmp_path: Path) -> None:
    paths = [record(tmp_path, "a", share) for share in (0.9, 0.1)]
    result = ranking(tmp_path, *map(str, paths))
    assert [s.name for s in result.standings] == [f"a@8 {path.name}" for path in paths]


def test_what_is_not_measured_on_the_same_is_refused(tmp_path: Path) -> None:
    a, b = (record(tmp_path, model, 0.5, benchmark=model) for model in ("a", "b"))
    with pytest.raises(NotComparableError, match="none of b"):
        entrants([str(a), str(b)], tmp_path)
    with pytest.raises(MissingError, match="no whole benchmark by both a and b"):
        entrants(["a", "b"], tmp_path)
    with pytest.raises(ConfigError, match="at least two"):
        entrants(["a"], tmp_path)
    with pytest.raises(ConfigError, match="--benchmarks means nothing"):
        entrants([str(a), str(b)], tmp_path, ["a"])
    other = records.write(tmp_path, [records.line()], records.queries(9), benchmark="a", model="c")
    with pytest.raises(NotComparableError, match="other queries"):
        ranking(tmp_path, str(a), str(other))


def test_a_correlation_is_refused(tmp_path: Path) -> None:
    gold = np.linspace(0, 1, 9)
    for model in ("a", "b"):
        table = records.values(9, direction="", score=gold.tolist(), gold=gold.tolist())
        line = records.line("spearman", 1.0, direction="")
        records.write(tmp_path, [line], table, model=model)
    with pytest.raises(NotComparableError, match="no value per query"):
        ranking(tmp_path, "a", "b")


def test_unknown_directions_and_metrics_are_refused(three: Path) -> None:
    with pytest.raises(ConfigError, match="--directions x: toy has t2i"):
        ranking(three, "low", "high", directions=["x"])
    with pytest.raises(ConfigError, match="--metric R@7"):
        ranking(three, "low", "high", metric="R@7")
    assert ranking(three, "low", "high", metric="R@5").standings[0].score == 1


def test_the_command_prints_writes_and_gives_json(three: Path) -> None:
    files = {kind: three / f"out.{kind}" for kind in ("html", "plot", "markdown", "csv")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", path)]
    done = command("low", "close", "high", *options, root=three)
    assert done.returncode == 0, done.stderr
    assert "high@8 has the best score; these may be best, too: close@8." in done.stdout
    page = files["html"].read_text()
    assert "<script" not in page and "data:image/svg+xml;base64," in page
    assert files["plot"].read_bytes().startswith(b"\x89PNG")
    assert "| 3 | 3 | 3 | b | low@8 |" in files["markdown"].read_text()
    lines = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert [line["model"] for line in lines] == ["high@8", "close@8", "low@8"]
    assert float(lines[2]["score"]) == pytest.approx(0.2)
    answer = json.loads(command("low", "close", "high", "--json", root=three).stdout)
    assert answer["standings"][0]["rank_high"] == 2 and answer["may_be_best"] == [
        "high@8",
        "close@8",
    ]
    assert {pair["apart"] for pair in answer["pairs"]} == {True, False}


def test_run_files_are_scored_and_ranked(tmp_path: Path) -> None:
    qrels = tmp_path / "toy.qrels"
    qrels.write_text("".join(f"q{i} 0 d{i} 1\n" for i in range(20)))
    for name, hits in (("good", 18), ("bad", 2)):
        lines = [f"q{i} Q0 {'d' if i < hits else 'x'}{i} 1 1.0 {name}\n" for i in range(20)]
        (tmp_path / f"{name}.run").write_text("".join(lines))
    done = command("good.run", "bad.run", "--qrels", qrels, "--json", root=tmp_path)
    answer = json.loads(done.stdout)
    assert [entry["score"] for entry in answer["standings"]] == pytest.approx([0.9, 0.1])
    assert answer["benchmarks"][0]["metric"] == "nDCG@10" and answer["pairs"][0]["apart"]
    missing = command("none.run", "bad.run", "--qrels", qrels, root=tmp_path)
    assert missing.returncode == 2 and "none.run: no such file" in missing.stderr


def test_a_name_is_text_wherever_it_is_shown(tmp_path: Path) -> None:
    for model, share in (("=a<b>$x", 0.9), ("b[red]", 0.1)):
        record(tmp_path, model, share)
    paths = [str(path.parent) for path in tmp_path.rglob("manifest.json")]
    result = ranking(tmp_path, *paths)
    assert views.as_csv(result).splitlines()[1].split(",")[5] == "'=a<b>$x@8"
    assert "a&lt;b&gt;" in views.as_markdown(result)
    page = command(*paths, "--html", tmp_path / "x.html", root=tmp_path)
    assert page.returncode == 0 and "<b>" not in (tmp_path / "x.html").read_text()
    assert "b[red]" in page.stdout


def test_letters_go_on_after_z() -> None:
    assert [views.letter(n) for n in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]
