"""What may be compared is, to the number that pandas and scipy find; what may not is refused with a reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

from evals.analysis.comparison import compare
from evals.compare import app
from evals.records.record import read_queries, read_run
from evals.records.selection import left_out, matched, measured, operand
from evals.schema import ConfigError, MissingError
from evals.stats.correlation import ScoredTwice, paired_spearman, spearman
from evals.views import comparison as compare_views
from evals.views.forest import forest
from tests import records

RUNNER = CliRunner()


def record(root: Path, hits: list[int], **changes: Any) -> Path:
    """A record of captions, two of each image, `hits` of them at rank 1; `changes` replaces columns or parts of the manifest."""
    ranks = {"better": [1 - hit for hit in hits], "ndcg10": [float(hit) for hit in hits]}
    usual = records.queries(len(hits), **ranks)
    columns = {name: changes.pop(name) for name in list(changes) if name in usual}
    table = usual | columns
    names = changes.pop("metrics", ["R@1", "R@5"])
    cells = dict.fromkeys(zip(*(table[name] for name in records.CELL), strict=True))
    lines = [
        records.line(name, **dict(zip(records.CELL, cell, strict=True)))
        for cell in cells
        for name in names
    ]
    return records.write(root, lines, table, **changes)


def run(*arguments: object) -> Any:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object, code: int = 4) -> str:
    done = run(*arguments)
    assert done.exit_code == code, done.output
    return " ".join(done.stderr.split())


def test_two_dimensions_of_a_model_compare_as_pandas_computes_it(scenes_run: Path) -> None:
    (a, b) = (operand(str(scenes_run)), operand(f"{scenes_run}@64"))
    found = {(c.subset, c.direction, c.metric): c for c in compare(matched(a, b, scenes_run))}
    frame = read_queries(read_run(scenes_run)).to_pandas()
    frame = frame[(frame.direction == "t2i")].assign(hit=lambda x: (x.better == 0).astype(float))
    wide = frame.pivot(index=["subset", "query_id"], columns="dim", values="hit")
    change = (wide[64] - wide[256]).groupby("subset")
    for subset in ("en", "de"):
        c = found[subset, "t2i", "R@1"]
        assert c.difference.value == pytest.approx(change.mean()[subset])
        assert (c.difference.wins, c.difference.losses) == (
            (change.get_group(subset) > 0).sum(),
            (change.get_group(subset) < 0).sum(),
        )
        assert c.n == 1000 and c.groups == 500 and c.p_holm is None
    mean = found["mean", "t2i", "R@1"]
    assert mean.difference.value == pytest.approx(change.mean().mean())
    assert mean.b - mean.a == pytest.approx(mean.difference.value) and mean.primary
    assert {key[1:] for key in found} == {
        ("t2i", "R@1"),
        ("t2i", "R@5"),
        ("i2t", "R@1"),
        ("i2t", "R@5"),
    }


def test_holm_is_over_the_primary_metrics_only(scenes_run: Path) -> None:
    pairs = matched(operand(str(scenes_run)), operand(f"{scenes_run}@64"), scenes_run)
    changes = compare(pairs, metrics=["R@1", "R@5", "MRR"])
    family = [c for c in changes if c.primary]
    assert {(c.subset, c.metric) for c in family} == {("mean", "R@1"), ("mean", "R@5")} and len(
        family
    ) == 4
    smallest = min(family, key=lambda c: c.difference.p or 0)
    assert smallest.p_holm == pytest.approx(min(1, 4 * (smallest.difference.p or 0)))
    assert all(c.p_holm is None for c in changes if not c.primary)


def test_queries_are_paired_by_id_and_not_by_place(tmp_path: Path) -> None:
    one = record(tmp_path, [1, 0, 0, 1])
    turned = record(
        tmp_path,
        [1, 0, 0, 1][::-1],
        query_id=["q3", "q2", "q1", "q0"],
        group_id=["i1", "i1", "i0", "i0"],
    )
    (change, _) = compare(matched(operand(str(one)), operand(str(turned)), tmp_path))
    assert (change.difference.wins, change.difference.losses, change.difference.ties) == (0, 0, 4)


def test_a_name_means_the_newest_whole_record_that_was_scored_so(tmp_path: Path) -> None:
    # not in the second of the next one
    old = record(tmp_path, [1, 0, 0, 1], dim=[4] * 4, day=1)
    new = record(tmp_path, [1, 0, 0, 1])
    record(tmp_path, [1, 0, 0, 1], benchmark="toy.partial", partial={"limit": 2})
    ((a, b),) = matched(operand("m@4"), operand("m"), tmp_path)
    assert (a.run.path, b.run.path, a.dim, b.dim) == (old, new, 4, 8)
    with pytest.raises(
        ConfigError, match=r"m@5: no record of toy was scored at that; there is @4, @8\."
    ):
        measured(operand("m@5"), tmp_path, "toy")
    with pytest.raises(MissingError, match=r"^n: no record is there"):
        matched(operand("m"), operand("n"), tmp_path)


def test_a_record_without_metrics_was_scored_at_nothing(tmp_path: Path) -> None:
    empty = records.write(tmp_path, [], records.queries(4), model="m", benchmark="toy")
    with pytest.raises(ConfigError, match=r"there is nothing\. Run: .* --model m$"):
        measured(operand(str(empty)), tmp_path, "toy")


def test_benchmarks_that_one_side_was_not_scored_so_on_are_left_out_and_told(
    tmp_path: Path,
) -> None:
    swept = [record(tmp_path, [1, 0, 0, 1], dim=[4] * 4, day=1), record(tmp_path, [1, 0, 0, 1])]
    record(tmp_path, [1, 0, 0, 1], benchmark="plain")
    assert [path.parent.parent.name for path in swept] == ["toy", "toy"]
    ((a, b),) = matched(operand("m@8"), operand("m@4"), tmp_path)
    assert {a.run.manifest.benchmark, b.run.manifest.benchmark} == {"toy"}
    [reason] = left_out([operand("m@8"), operand("m@4")], tmp_path, None)
    assert reason.startswith(
        "plain is left out: m@4: no record of plain was scored at that; there is @8"
    )
    assert len(matched(operand("m"), operand("m@8"), tmp_path)) == 2
    # named, they are not passed over in silence
    assert left_out([operand("m@8"), operand("m@4")], tmp_path, ["plain"]) == []
    with pytest.raises(ConfigError, match="m@4: no record of plain was scored at that"):
        matched(operand("m@8"), operand("m@4"), tmp_path, ["plain"])
    with pytest.raises(MissingError, match=r"^n: no record is there.* --model n\.$"):
        matched(operand("n@8"), operand("n@4"), tmp_path)


def test_an_operand_has_a_name_a_dimension_and_a_precision(tmp_path: Path) -> None:
    assert operand("jina-clip-v2")[1:] == ("jina-clip-v2", None, "float32")
    assert operand("tiny@64:int8")[1:] == ("tiny", 64, "int8")
    assert operand("tiny:binary+rescore100")[1:] == ("tiny", None, "binary+rescore100")
    path = record(tmp_path / "odd@64", [1, 0])
    assert operand(str(path))[1:] == (str(path), None, "float32")
    assert operand(f"{path}@8").path == path


REFUSED = [
    (
        dict(query_id=["q0", "q1", "q2", "x"]),
        "other queries: 1 only in A (q3 …) and 1 only in B (x …). Run both again",
    ),
    (dict(group_id=["i0", "i1", "i1", "i1"]), "the queries belong to other images"),
    (
        dict(data={"en": {"content": "d" * 64}}),
        f"other data (content {records.content('en')[:12]} in",
    ),
    (dict(partial={"limit": 2}, benchmark="toy.partial"), "is whole"),
    (dict(metrics=["R@1"]), "only one of the runs has R@5. Choose of R@1 with --metric"),
    (dict(benchmark="other"), "name two records of one benchmark"),
    (
        dict(subset=["de"] * 4),
        "only one of the runs has de t2i, en t2i. Name subsets that both have with --subsets",
    ),
]


@pytest.mark.parametrize(("changes", "why"), REFUSED)
def test_what_is_not_comparable_is_refused_with_the_reason(
    changes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    a, b = record(tmp_path, [1, 0, 0, 1]), record(tmp_path, [1, 1, 0, 1], **changes)
    assert why in refusal(a, b)


def test_a_measurement_is_not_compared_with_itself(tmp_path: Path) -> None:
    path = record(tmp_path, [1, 0, 0, 1])
    assert "the same measurement twice, m@8" in refusal(path, f"{path}@8")


def test_a_named_metric_needs_only_to_be_in_both(tmp_path: Path) -> None:
    a, b = record(tmp_path, [1, 0, 0, 1]), record(tmp_path, [1, 1, 0, 1], metrics=["R@1"])
    assert run(a, b, "--metric", "R@1").exit_code == 0
    assert "both have R@1" in refusal(a, b, "--metric", "R@5", code=2)
    assert "--benchmarks means nothing" in refusal(a, b, "--benchmarks", "toy", code=2)
    assert "has en" in refusal(a, b, "--subsets", "xx", code=2)


def test_runs_of_some_languages_compare_with_the_whole_in_these(tmp_path: Path) -> None:
    both = dict(subset=["en", "en", "de", "de"])
    a = record(tmp_path, [1, 0, 0, 1], **both)
    b = record(tmp_path, [1, 1], benchmark="toy.partial", partial={"subsets": ["en"]})
    assert "--subsets" in refusal(a, b)
    found = json.loads(run(a, b, "--subsets", "en", "--json").stdout)["changes"]
    assert [(c["subset"], c["difference"], c["n"]) for c in found] == [("en", 0.5, 2), ("en", 0, 2)]
    assert found[0]["p"] is None and found[0]["ci_low"] is None  # one image


def test_the_command_writes_what_it_prints(scenes_run: Path, tmp_path: Path) -> None:
    out, png = tmp_path / "c.md", tmp_path / "c.png"
    done = run(scenes_run, f"{scenes_run}@64", "--subsets", "en", "--markdown", out, "--plot", png)
    assert done.exit_code == 0, done.output
    assert f"markdown: {out}" in done.stdout and f"plot: {png}" in done.stdout
    row = next(
        line for line in out.read_text().splitlines() if line.startswith("| en | t2i | R@1 ")
    )
    assert " ".join(cell.strip() for cell in row.split("|")[4:7]).replace("\\", "") in " ".join(
        done.stdout.split()
    )
    assert png.read_bytes().startswith(b"\x89PNG")
    found = json.loads(run(scenes_run, f"{scenes_run}@64", "--subsets", "en", "--json").stdout)
    first = found["changes"][0]
    assert (
        f"{100 * first['difference']:+.2f} \\[{100 * first['ci_low']:+.2f},{100 * first['ci_high']:+.2f}\\]"
        in row
    )
    assert found["records"][0]["b"] == {
        "record": str(scenes_run),
        "label": "tiny@64",
        "dim": 64,
        "precision": "float32",
    }


def test_the_plot_has_a_line_a_change_a_zero_line_and_the_floor(scenes_run: Path) -> None:
    pairs = matched(operand(str(scenes_run)), operand(f"{scenes_run}@64"), scenes_run)
    changes = compare(pairs, subsets=["en"])
    axes = forest(compare_views.Title.of(pairs), changes).axes[0]
    assert axes.get_yticklabels()[0].get_text() == "scenes.partial en t2i R@1"
    assert "points" in axes.get_xlabel()
    ends = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    expected = [[100 * end for end in c.difference.interval or ()] for c in changes]
    assert [list(map(float, x)) for x in ends[1:]] == expected and list(ends[0]) == [0, 0]
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.3, 0.3))
    assert len(axes.texts) == len(changes)


def test_two_records_of_one_model_say_in_what_they_differ(tmp_path: Path) -> None:
    a = record(tmp_path, [1, 0, 0, 1])
    b = record(tmp_path, [1, 1, 0, 1], encoder=records.encoder(dtype="bfloat16"))
    assert "They differ in dtype." in run(a, b).stdout
    assert (
        "They differ in no setting of the encoder." in run(a, record(tmp_path, [1, 1, 0, 1])).stdout
    )


def test_names_are_text_in_every_view(tmp_path: Path) -> None:
    a = record(tmp_path, [1, 0, 0, 1], model="x|y<b>[red]")
    b = record(tmp_path, [1, 1, 0, 1], model="z")
    done = run(a, b, "--markdown", tmp_path / "c.md", "--plot", tmp_path / "c.png")
    assert "x|y<b>[red]@8" in done.stdout
    assert r"x\|y&lt;b&gt;\[red\]@&#8203;8" in (tmp_path / "c.md").read_text()


def of_mteb(root: Path, **columns: np.ndarray) -> Path:
    """A record of one subset of an mteb task, with its own columns: `value`, or `score` and `gold`."""
    table = records.values(len(next(iter(columns.values()))), **columns)
    line = records.line("main", direction="test")
    return records.write(
        root, [line], table, benchmark="mteb.T", mteb={"query_metric": "ndcg_at_10"}
    )


def test_pairs_compare_by_spearman(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 6, 300) / 5
    a, b = gold + rng.standard_normal(300), gold + 0.5 * rng.standard_normal(300)
    records = of_mteb(tmp_path, score=a, gold=gold), of_mteb(tmp_path, score=b, gold=gold)
    (change,) = compare(matched(*(operand(str(path)) for path in records), tmp_path))
    assert (change.metric, change.primary) == ("spearman", True)
    assert (change.a, change.b) == pytest.approx(
        (spearmanr(a, gold).statistic, spearmanr(b, gold).statistic)
    )
    assert change.difference.value == pytest.approx(change.b - change.a)
    assert change.difference.lower is not None and change.difference.lower > 0
    assert change.difference.p == pytest.approx(1 / 2001)
    assert change.difference.wins > change.difference.losses
    other = of_mteb(tmp_path, score=b, gold=gold[::-1].copy())
    assert "gold scores" in refusal(records[0], other)


def test_the_interval_of_a_spearman_change_is_that_of_resampled_pairs() -> None:
    rng = np.random.default_rng(1)
    gold, noise = rng.standard_normal(80), rng.standard_normal((2, 80))
    a, b = gold + noise[0], gold + 0.8 * noise[1]
    found = paired_spearman([ScoredTwice(a, b, gold)], resamples=600)
    draws = [rng.integers(80, size=80) for _ in range(600)]
    frame = [
        pd.DataFrame({"a": a[d], "b": b[d], "g": gold[d]}).corr("spearman")["g"] for d in draws
    ]
    ends = np.quantile([corr["b"] - corr["a"] for corr in frame], [0.025, 0.975])
    assert found.interval == pytest.approx(tuple(ends), abs=0.03)
    assert spearman(a, gold) == pytest.approx(spearmanr(a, gold).statistic)
    constant = paired_spearman([ScoredTwice(np.zeros(80), b, gold)])
    assert constant.interval is None and constant.p is None


def test_queries_of_an_mteb_task_compare_by_their_one_metric(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((2, 50))
    records = [of_mteb(tmp_path, value=value) for value in values]
    (change,) = compare(matched(*(operand(str(path)) for path in records), tmp_path))
    assert (change.metric, change.direction, change.primary) == ("ndcg_at_10", "test", True)
    assert change.difference.value == pytest.approx(values[1].mean() - values[0].mean())
    assert change.p_holm == change.difference.p


def test_a_record_without_queries_cannot_be_paired(tmp_path: Path) -> None:
    paths = [of_mteb(tmp_path, score=np.zeros(0), gold=np.zeros(0)) for _ in range(2)]
    assert "no queries of m@8 were kept" in refusal(*paths)
