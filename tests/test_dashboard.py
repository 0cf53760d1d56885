"""The site as files: what its pages hold, hostile text, broken records, and what may be overwritten."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evals.analysis.mistakes import find_mistakes
from evals.analysis.stated_files import read_results
from evals.dashboard import audit, details, foreign, pages, pairs, summary
from evals.dashboard.foreign import NONE
from evals.dashboard.history import MEAN, changes, read_history
from evals.dashboard.judged import worst
from evals.dashboard.shown import Words
from evals.dashboard.site import MARK, Verdicts, build
from evals.dashboard.verdicts import gate_rows, reproduction_rows
from evals.records.queries import Cell
from evals.records.record import (
    list_runs,
    read_queries,
    read_run,
)
from evals.report.tables import table, table_names
from evals.schema import ConfigError
from tests import published_toys, records
from tests.foreign_files import CLIP, TASK, files, mteb_folder
from tests.foreign_files import write as write_json
from tests.site_records import HEBREW, HOSTILE, SCRIPT, example, write, write_task
from tests.test_export import record, task_record

ROOT = Path(__file__).parents[1]
PAGES = (
    "index reproduction trends compare matryoshka languages mistakes runs foreign gates quality"
).split()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return example(tmp_path_factory.mktemp("records") / "runs")


@pytest.fixture(scope="module")
def history(root):
    return read_history(root)


@pytest.fixture(scope="module")
def site(history, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    build(history, Verdicts(), out)
    return out


class Page(HTMLParser):
    """The tags of a page, its text, and the data that its script reads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.text, self._data = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.data = json.loads(self._data)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self._data += data
        else:
            self.text.append(data)

    def rows(self, table: str) -> list[dict]:
        (found,) = (each for each in self.data["tables"] if each["id"] == table)
        return [dict(zip(found["keys"], row, strict=True)) for row in found["rows"]]


def test_every_page_and_every_run_has_a_file(site, history):
    assert {path.stem for path in site.glob("*.html")} == set(PAGES)
    linked = {row["href"] for row in Page(site / "runs.html").rows("runs")}
    assert len(linked) == len(history.runs)
    assert all((site / address).is_file() for address in linked)


def test_a_run_on_other_data_is_no_change_of_the_model(tmp_path):
    for day, content in ((1, "all of it"), (2, "a part"), (3, "a part")):
        data = {name: {"content": content} for name in ("en", "de")}
        write(tmp_path, "m", day, languages=("en", "de"), manifest={"data": data})
        rows = pages.overview(read_history(tmp_path), {}).tables[0].rows
        known = [row["change"] is not None for row in rows]
        assert known and known == [day == 3] * len(known)


def test_the_overview_shows_the_newest_value_its_past_and_its_change(site, root):
    rows = Page(site / "index.html").rows("newest")
    (row,) = (
        r for r in rows if (r["benchmark"], r["model"], r["direction"]) == ("multi", "alpha", "t2i")
    )
    past = []
    for path in list_runs(root, "multi", "alpha"):
        cell = [
            o.value for o in read_run(path).metrics if (o.direction, o.dim, o.k) == ("t2i", 64, 1)
        ]
        past.append(sum(cell) / 3)
    assert row["past"] == pytest.approx(past)
    assert row["value"] == pytest.approx(past[-1])
    assert row["change"] == pytest.approx(past[-1] - past[-2])
    assert (row["over"], row["low"], row["verdict"]) == ("mean of 3", None, "no baseline")


def test_the_overview_begins_with_verdicts_in_words(root, history, tmp_path):
    gates = [
        {"baseline": "ci", "benchmark": "multi", "model": "alpha", "verdict": "regressed"}
        | {"subset": "mean", "direction": "t2i", "metric": "R@1", "dim": 64}
        | {"difference": -0.0123},
        {"baseline": "ci", "benchmark": "multi", "model": "alpha", "verdict": "unchanged"},
    ]
    published = [{"table": "t", "verdict": verdict} for verdict in ("exact", "not run", "not run")]
    compared = pairs.compare(history).sentences
    others = read_results([files(tmp_path)])
    said = summary.sentences(history, gates, published, compared, others)
    assert [(sentence.verdict, sentence.page) for sentence in said] == [
        ("invalid", "quality"),
        ("incomplete", "quality"),
        ("regressed", "gates"),
        ("exact", "reproduction"),
        ("no difference found", "compare"),
        ("better", "compare"),
        ("not judged", "foreign"),
    ]
    texts = [sentence.text for sentence in said]
    assert texts[0] == "2 records or result files could not be read."
    assert texts[2] == (
        "Against the baseline ci: 1 regressed, 1 unchanged. The largest drop is 1.23 points: alpha "
        "multi mean t2i R@1 at 64 dimensions."
    )
    assert texts[3] == "1 of 3 published numbers were measured here: 1 exact."
    assert "beta is better than alpha" in texts[5]
    page = tmp_path / "site" / "index.html"
    build(history, Verdicts(gates, published), page.parent, imported=others)
    assert texts[2] in " ".join("".join(Page(page).text).split())


def test_without_a_baseline_the_overview_says_that_nothing_is_held_against_one(history):
    (sentence,) = (s for s in summary.sentences(history, [], [], [], NONE) if s.page == "gates")
    assert sentence.verdict == "no baseline"


def test_a_single_language_keeps_its_interval(site, root):
    (row,) = (
        r
        for r in Page(site / "index.html").rows("newest")
        if (r["benchmark"], r["direction"]) == ("single", "t2i")
    )
    line = read_run(list_runs(root, "single", "alpha")[0]).metrics[0]
    assert (row["value"], row["low"], row["high"], row["over"]) == (
        line.value,
        line.ci_low,
        line.ci_high,
        "en",
    )


def test_a_mean_is_over_all_subsets_or_there_is_none(tmp_path):
    path = write(tmp_path, "m", 1, languages=("en", "de"), dims=(64,))
    whole = read_history(tmp_path)
    assert {row["subset"] for row in pages.trends(whole).tables[0].rows} == {MEAN, "en", "de"}
    run = read_run(path)
    lacking = tuple(line for line in run.metrics if (line.subset, line.direction) != ("de", "i2t"))
    part = type(whole)((type(run)(run.path, run.manifest, lacking),), (), ())
    assert {
        row["direction"] for row in pages.trends(part).tables[0].rows if row["subset"] == MEAN
    } == {"t2i"}
    assert [row["over"] for row in pages.overview(part, {}).tables[0].rows] == ["mean of 2"]


def test_trends_tell_what_changed_between_runs(history):
    changed = pages.trends(history).tables[1].rows
    assert [(row["model"], row["date"][:10], row["change"]) for row in changed] == [
        ("alpha", "2026-01-05", "torch 2.2.0 → 2.5.0"),
        ("alpha", "2026-01-09", "torch 2.5.0 → 2.9.0"),
    ]


def test_pages_begin_with_whole_benchmarks_and_trends_with_the_longest_past(tmp_path):
    part = {"partial": {"limit": 5, "seed": 0}}
    for day in (1, 2, 3):
        write(tmp_path, "m", day, benchmark="a.partial", languages=("en",), manifest=part)
    for day, name in ((4, "b"), (5, "c"), (6, "c")):
        write(tmp_path, "m", day, benchmark=name, languages=("en",))
    history = read_history(tmp_path)
    assert [name for name, _ in history.series()] == ["b", "c", "a.partial"]
    rows = pages.trends(history).tables[0].rows
    assert list(dict.fromkeys(row["benchmark"] for row in rows)) == ["c", "b", "a.partial"]


def test_a_trend_joins_no_runs_on_other_data(tmp_path):
    for day, content in ((1, "one"), (2, "other"), (3, "one")):
        data = {"en": {"content": content}}
        write(tmp_path, "m", day, languages=("en",), manifest={"data": data})
    page = pages.trends(read_history(tmp_path))
    kinds = {row["date"][:10]: row["data"] for row in page.tables[0].rows}
    first, other, last = (kinds[day] for day in sorted(kinds))
    assert first == last != other
    lines = [layer for layer in page.charts[0].spec["layer"] if layer["mark"]["type"] != "rule"]
    assert all('"data"' in json.dumps(layer["encoding"]["detail"]) for layer in lines)


def test_changes_name_what_only_one_run_has_and_skip_where_it_was_written(tmp_path):
    config = {"results": "here", "limit": None, "dims": [64]}
    one = write(tmp_path, "m", 1, manifest={"config": config, "host": {"python": "3.11"}})
    two = write(
        tmp_path,
        "m",
        2,
        manifest={"config": {**config, "results": "there", "limit": 5}, "host": {}},
    )
    found = changes(read_run(one), read_run(two))
    assert [tuple(change) for change in found] == [
        ("config.limit", None, "5"),
        ("host.python", "3.11", None),
    ]


def test_matryoshka_keeps_all_of_the_full_width(history):
    rows = [row for row in pages.matryoshka(history).tables[0].rows if row["model"] == "beta"]
    assert {(row["dim"], row["precision"]) for row in rows} == {
        (dim, precision) for dim in (64, 32) for precision in ("float32", "int8", "binary")
    }
    for row in rows:
        (full,) = (
            other["value"]
            for other in rows
            if (other["dim"], other["precision"]) == (64, "float32")
            and all(other[name] == row[name] for name in ("subset", "direction", "metric"))
        )
        assert row["kept"] == pytest.approx(row["value"] / full)


def test_mistakes_are_the_worst_by_expected_rank(tmp_path):
    path = write(tmp_path, "m", 1, languages=("en",), dims=(64, 32))
    table = [
        row
        for row in read_queries(read_run(path)).to_pylist()
        if (row["direction"], row["dim"]) == ("t2i", 64)
    ]
    expected = sorted(
        (r["better"] + 1 + r["tied"] / (r["tied_relevant"] + 1) for r in table), reverse=True
    )[:20]
    rows = [
        row
        for row in audit.mistakes(read_history(tmp_path)).tables[0].rows
        if row["direction"] == "t2i"
    ]
    assert [row["rank"] for row in rows] == expected
    assert rows[0]["query"] in {row["query_id"] for row in table}


def test_mistakes_say_what_queries_say_and_keep_each_photo_once(scenes_run, tmp_path):
    history = read_history(scenes_run.parents[2])
    words = Words(thumbnails=True)
    build(history, Verdicts(), tmp_path / "site", words=words)
    rows = Page(tmp_path / "site" / "mistakes.html").rows("mistakes")
    cell = Cell("de", "t2i", 256, "float32")
    expected = find_mistakes(read_run(scenes_run), cell, top=20).mistakes
    in_cell = [row for row in rows if (row["subset"], row["direction"]) == ("de", "t2i")]
    assert [row["query"] for row in in_cell] == [mistake.query.id for mistake in expected]
    for row, mistake in zip(in_cell, expected, strict=True):
        assert [item["text"] for item in row["asked"]] == [mistake.query.text]
        assert [item["score"] for item in row["answer"]] == [mistake.gold.score]
        assert [item["text"] for item in row["preferred"]] == [
            shown.text for shown in mistake.preferred[:3]
        ]
        assert row["asked"][0]["image"] is None
    shown = [
        item["image"]
        for row in rows
        for name in ("asked", "answer", "preferred")
        for item in row[name]
        if item["image"]
    ]
    photos = {
        str(file.relative_to(tmp_path / "site")) for file in (tmp_path / "site").rglob("*.jpg")
    }
    assert photos == set(shown)
    assert len(shown) > len(photos)
    assert len({(tmp_path / "site" / photo).read_bytes() for photo in photos}) == len(photos)
    assert not words.refused


def test_mistakes_without_data_at_hand_are_ids_with_the_reason(tmp_path):
    write(tmp_path, "m", 1)
    write_task(tmp_path, "m", 2)
    page = audit.mistakes(read_history(tmp_path), Words())
    rows, refused = (table.rows for table in page.tables)
    assert rows and not any("asked" in row for row in rows)
    assert {(row["subset"], row["direction"]) for row in refused if row["message"]} == {
        (subset, direction) for subset in ("en", "de", HEBREW) for direction in ("t2i", "i2t")
    }


def test_mistakes_of_mteb_are_the_lowest_values(tmp_path):
    write_task(tmp_path, "m", 1)
    values = [row["score"] for row in audit.mistakes(read_history(tmp_path)).tables[0].rows]
    assert values == sorted(values) and len(values) == 12


def test_a_clearly_better_model_is_called_better(history):
    rows = [row for row in pairs.compare(history).tables[0].rows if row["benchmark"] == "multi"]
    (mean,) = (
        row
        for row in rows
        if (row["subset"], row["direction"], row["metric"]) == (MEAN, "t2i", "R@1")
    )
    assert (mean["a"], mean["b"], mean["verdict"]) == ("alpha", "beta", "better")
    assert mean["low"] > 0


def test_of_three_models_the_two_that_ran_last_are_compared(tmp_path):
    for day, model in enumerate(("a", "b", "c"), 1):
        write(tmp_path, model, day)
    rows = pairs.compare(read_history(tmp_path)).tables[0].rows
    assert {(row["a"], row["b"]) for row in rows} == {("b", "c")}


def test_other_data_is_not_compared(tmp_path):
    write(tmp_path, "a", 1)
    write(tmp_path, "b", 2, manifest={"data": {"en": {"content": "1" * 64}}})
    page = pairs.compare(read_history(tmp_path))
    assert not page.tables[0].rows
    (refused,) = page.tables[1].rows
    assert refused["message"]


def test_gates_judge_the_newest_run_by_every_baseline(tmp_path):
    same = write(tmp_path / "baselines" / "ci", "m", 1, skill=6.0)
    shutil.copytree(same, tmp_path / "runs" / "multi" / "m" / same.name)
    rows = gate_rows(tmp_path / "runs", tmp_path / "baselines")
    assert {(row["baseline"], row["verdict"]) for row in rows} == {("ci", "unchanged")}
    write(tmp_path / "runs", "m", 2)
    rows = gate_rows(tmp_path / "runs", tmp_path / "baselines")
    assert worst(rows) == {("multi", "m"): "regressed"}
    assert next(row["difference"] for row in rows if row["verdict"] == "regressed") < 0
    shutil.rmtree(tmp_path / "runs")
    (missing,) = gate_rows(tmp_path / "runs", tmp_path / "baselines")
    assert (missing["verdict"], missing["benchmark"], missing.get("value")) == (
        "missing",
        "multi",
        None,
    )


def test_a_published_number_is_never_shown_as_measured(tmp_path):
    cell = next(
        cell
        for name in table_names()
        for _, cell in table(name).cells
        if cell.published.model == "jina-clip-v1"
    )
    ((place,),) = cell.selector.groups
    where = {"subset": place.subset, "direction": place.direction, "dim": 768}
    line = records.line(place.metric, cell.published.value / 100, **where)
    about = {
        "benchmark": place.benchmark,
        "model": cell.checkpoint.names[0],
        "encoder": published_toys.encoder("jina-clip-v1", 768),
    }
    path = records.write(tmp_path, [line], **about)
    rows = reproduction_rows(tmp_path)
    measured = [row for row in rows if row["verdict"] != "not run"]
    assert measured and [row["value"] for row in measured] == [pytest.approx(line.value)] * len(
        measured
    )
    assert {row["value"] for row in rows if row["verdict"] == "not run"} == {None}
    (path / "metrics.jsonl").write_text("{}\n")
    broken = [row for row in reproduction_rows(tmp_path) if row["verdict"] == "invalid"]
    assert broken and all("checksum mismatch" in row["message"] for row in broken)


def test_means_of_result_files_stand_beside_the_record_of_the_same_data(tmp_path):
    record(tmp_path / "runs")
    task_record(tmp_path / "runs")
    clip = write_json(tmp_path / "clip.json", CLIP)
    other = write_json(tmp_path / "other" / "SciFact.json", TASK, dataset_revision="f" * 40)
    imported = read_results([clip, other, mteb_folder(tmp_path)])
    history = read_history(tmp_path / "runs")
    rows = foreign.results(imported, history).tables[0].rows
    assert {(row["benchmark"], row["model"]) for row in rows} == {
        ("flickr", "ViT-B-32 laion2b_s34b_b79k"),
        ("SciFact (mteb, revision ffffffff)", "no model is named"),
        ("mteb.SciFact", "org/theirs@" + "e" * 12),
    }
    assert {row["source"] for row in rows} == {
        "stated by CLIP_benchmark, not judged",
        "stated by mteb 2.26.24, not judged",
    }
    assert {(row["low"], row["high"]) for row in rows} == {(None, None)}


def test_means_of_result_files_are_in_no_verdict_comparison_or_history(tmp_path):
    record(tmp_path / "runs")
    history = read_history(tmp_path / "runs")
    imported = read_results([write_json(tmp_path / "clip.json", CLIP)])
    build(history, Verdicts(), tmp_path / "with", imported=imported)
    build(history, Verdicts(), tmp_path / "without")
    for name in set(PAGES) - {"index", "foreign"}:
        shown = [Page(tmp_path / folder / f"{name}.html").data for folder in ("with", "without")]
        assert shown[0] == shown[1], name
    rows = Page(tmp_path / "with" / "index.html").rows("newest")
    theirs = [row for row in rows if "stated" in row["verdict"]]
    assert [(row["model"], row["value"], row["past"], row["change"]) for row in theirs] == [
        ("ViT-B-32 laion2b_s34b_b79k", 0.5, None, None),
        ("ViT-B-32 laion2b_s34b_b79k", 0.75, None, None),
    ]
    assert [row for row in rows if row not in theirs] == Page(
        tmp_path / "without" / "index.html"
    ).rows("newest")


def test_subsets_of_a_result_file_are_shown_as_their_mean(tmp_path):
    entry = TASK["scores"]["test"][0]
    scores = {"test": [entry, entry | {"hf_subset": "de", "main_score": 0.75}]}
    imported = read_results([write_json(tmp_path / "Task.json", TASK, scores=scores)])
    (row,) = foreign.leading_rows(imported, read_history(tmp_path / "none"))
    assert (row["value"], row["over"], row["subset"]) == (0.5, "mean of 2", MEAN)


def test_the_command_takes_result_files_and_names_the_broken_ones(tmp_path):
    done = _dashboard(files(tmp_path / "theirs"), "--out", tmp_path / "site", "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["foreign"], counts["broken"]) == (3, 1)
    assert "broken.json: acc1 is 50" in done.stderr
    (broken,) = Page(tmp_path / "site" / "quality.html").rows("broken")
    assert "acc1 is 50" in broken["message"]
    broken_file = tmp_path / "theirs" / "clip" / "broken.json"
    assert _dashboard(broken_file, "--out", tmp_path / "site").returncode == 3


def test_broken_and_incomplete_folders_are_shown(site):
    page = Page(site / "quality.html")
    (broken,) = page.rows("broken")
    assert "metrics.jsonl: checksum mismatch" in broken["message"]
    (incomplete,) = page.rows("incomplete")
    assert incomplete["path"].endswith("20260120T000000Z-00000000")


def test_quality_tells_parts_and_truncation(site):
    rows = Page(site / "quality.html").rows("quality")
    assert {row["partial"] for row in rows if row["benchmark"] == "multi.partial"} == {
        "limit: 5, seed: 0"
    }
    assert {row["cut"] for row in rows if row["benchmark"].startswith("mteb:")} == {3}


def test_hostile_names_are_data_and_never_markup(site):
    for path in site.rglob("*.html"):
        page = Page(path)
        scripts = [attrs for tag, attrs in page.tags if tag == "script"]
        assert all(
            "src" in attrs or attrs.get("type") == "application/json" for attrs in scripts
        ), path
        assert not [
            attrs
            for _, attrs in page.tags
            if any(name.startswith("on") or name == "style" for name in attrs)
        ]
    models = {row["model"] for row in Page(site / "index.html").rows("newest")}
    assert models >= set(HOSTILE)
    titles = "".join(text for path in (site / "runs").glob("*.html") for text in Page(path).text)
    assert f"hostile · {SCRIPT}" in titles


def test_pages_name_nothing_outside_the_site(site):
    for path in site.rglob("*.html"):
        for tag, attrs in Page(path).tags:
            for address in (attrs.get(name) for name in ("src", "href")):
                assert (
                    address is None or address.startswith("#") or (path.parent / address).is_file()
                ), (path, tag, address)


def test_the_policy_allows_own_files_only(site):
    for path in site.rglob("*.html"):
        (policy,) = (
            a["content"] for tag, a in Page(path).tags if tag == "meta" and "http-equiv" in a
        )
        parts = dict(part.split(" ", 1) for part in policy.split("; "))
        assert parts["default-src"] == "'none'"
        assert {value for name, value in parts.items() if name != "default-src"} <= {
            "'self'",
            "'none'",
        }


def test_no_records_say_how_to_make_some(tmp_path):
    build(read_history(tmp_path / "none"), Verdicts(), tmp_path / "site")
    for name in PAGES:
        page = Page(tmp_path / "site" / f"{name}.html")
        assert not any(table["rows"] for table in page.data["tables"])
        assert not page.data["charts"]
    assert "make demo" in "".join(Page(tmp_path / "site" / "index.html").text)


def test_an_old_site_is_replaced_and_nothing_else_ever(root, tmp_path):
    done = _dashboard("--results", root, "--out", tmp_path / "site")
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "site" / "index.html"))
    (tmp_path / "site" / "runs" / "stale.html").touch()
    assert _dashboard("--results", root, "--out", tmp_path / "site").returncode == 0
    assert not (tmp_path / "site" / "runs" / "stale.html").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    done = _dashboard("--results", root, "--out", tmp_path / "home")
    assert (done.returncode, (tmp_path / "home" / "letter.txt").read_text()) == (2, "dear")
    assert "is no site" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"site", "home"}


def test_what_somebody_laid_into_a_site_stays_there(history, tmp_path):
    out = tmp_path / "site"
    build(history, Verdicts(), out)
    (out / "CNAME").write_text("example.org")
    (out / ".git" / "objects").mkdir(parents=True)
    (out / ".git" / "objects" / "12").write_bytes(b"blob")
    (out / "latest").symlink_to("runs")
    written = set(out.rglob("*"))
    build(history, Verdicts(), out)
    assert set(out.rglob("*")) == written
    assert (out / "CNAME").read_text() == "example.org"
    assert (out / ".git" / "objects" / "12").read_bytes() == b"blob"
    assert (out / "latest").readlink() == Path("runs")


def test_a_file_of_somebody_s_that_the_site_would_overwrite_is_refused_by_name(history, tmp_path):
    out = tmp_path / "site"
    build(history, Verdicts(), out)
    mark = out / MARK
    mark.write_text(mark.read_text().replace("trends.html\n", ""))
    (out / "trends.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"trends\.html is not of the site"):
        build(history, Verdicts(), out)
    assert (out / "trends.html").read_text() == "mine"


def test_a_site_of_an_earlier_version_is_replaced_with_its_notes_kept(history, tmp_path):
    """Its mark lists nothing."""
    out = tmp_path / "site"
    build(history, Verdicts(), out)
    (out / MARK).write_text("")
    (out / "index.html").write_text("old")
    (out / "notes.txt").write_text("mine")
    build(history, Verdicts(), out)
    assert (out / "index.html").read_text() != "old" and (out / "notes.txt").read_text() == "mine"


def test_a_link_to_a_site_stays_a_link(history, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "site").symlink_to("real")
    for _ in range(2):
        build(history, Verdicts(), tmp_path / "site")
    assert (tmp_path / "site").is_symlink() and (tmp_path / "real" / "index.html").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"site", "real"}


def test_a_site_is_never_half_written(history, tmp_path, monkeypatch):
    build(history, Verdicts(), tmp_path / "site")
    before = (tmp_path / "site" / "index.html").read_bytes()
    monkeypatch.setattr("evals.dashboard.details.of_runs", lambda history: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(history, Verdicts(), tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_file_is_no_place_for_a_site(history, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no site"):
        build(history, Verdicts(), tmp_path / "file")


def test_json_tells_counts_and_loads_no_torch(root, tmp_path):
    done = _dashboard("--results", root, "--out", tmp_path / "site", "--json")
    told = json.loads(done.stdout)
    assert (told["runs"], told["broken"], told["incomplete"]) == (12, 1, 1)
    assert "checksum mismatch" in done.stderr
    code = (
        f"import sys; sys.argv = ['x', '--results', {str(root)!r}, '--out', {str(tmp_path / 'site')!r}]\n"
        "from evals.dashboard.__main__ import app\napp(standalone_mode=False)\n"
        "assert not {'torch', 'transformers', 'matplotlib', 'mteb'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_same_records_make_the_same_site(history, tmp_path):
    for name in ("one", "two"):
        build(history, Verdicts(), tmp_path / name)
    files = sorted(
        path.relative_to(tmp_path / "one")
        for path in (tmp_path / "one").rglob("*")
        if path.is_file()
    )
    assert all(
        (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        for file in files
    )


def _dashboard(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evals.dashboard", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_vendored_files_are_those_that_are_named():
    vendor = ROOT / "evals" / "dashboard" / "static" / "vendor"
    named = dict(
        re.findall(r"\| `(\S+\.js)` \|.*\| `([0-9a-f]{64})` \|", (vendor / "README.md").read_text())
    )
    assert named == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.glob("*.js")
    }


def test_the_page_of_a_run_has_shares_in_per_cent_with_their_interval_and_ranks_apart(tmp_path):
    share = records.line("R@1", 0.0733, ci_low=0.0614, ci_high=0.0921)
    records.write(tmp_path, [share, records.line("mean_rank", 147.156)], records.queries())
    [(_, page)] = details.of_runs(read_history(tmp_path))
    kinds = {column.key: (column.label, column.kind) for column in page.tables[0].columns}
    assert (kinds["value"], kinds["tie_rate"]) == (("Value, %", "percent"), ("Ties, %", "percent"))
    assert kinds["rank"] == ("Rank from 1", "ratio")
    shown = [(row["value"], row["low"], row["high"], row["rank"]) for row in page.tables[0].rows]
    assert shown == [(0.0733, 0.0614, 0.0921, None), (None, None, None, 147.156)]
    # As everywhere on the site: day and minute, and whose clock it is.
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC, record ", page.lead)
