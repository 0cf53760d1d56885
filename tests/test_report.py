"""The report: what it shows, what it never shows, and what it refuses."""

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.report.__main__ import app
from evals.report.measured import Records
from evals.report.names import Place
from evals.report.published_csv import Published
from evals.report.tables import table, table_names
from evals.report.verdicts import judge, verdict
from evals.report.words import DASH, words
from evals.schema import InvalidError
from tests.published_toys import write_record
from tests.records import resigned

ROOT = Path(__file__).parents[1]
T2I = Place("flickr-quoted", None, "en", "t2i", "R@5", None)
I2T = T2I._replace(direction="i2t")


def cell(name: str = "v2post-flickr30k", place: str = "Text-to-image / jina-clip-v2 / Score"):
    return dict(table(name).cells)[place]


def score(
    records: Path,
    name: str = "v2post-flickr30k",
    place: tuple[str, str, str] = ("Text-to-image", "jina-clip-v2", "Score"),
):
    judged = judge(table(name), Records(records))
    return next(result for *where, result in judged.results if tuple(where) == place)


def run(*args: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (89.8, "exact"), (89.84, "exact"), (89.85, "exact"), (89.75, "exact"), (89.86, "reproduced"), (89.74, "reproduced"),
        (90.1, "reproduced"), (89.5, "reproduced"), (90.11, "deviates"), (89.49, "deviates"), (100.0, "deviates"),
    ],
)  # fmt: skip
def test_a_verdict_is_exact_as_printed_then_within_tolerance_then_deviates_too_high_included(
    measured, expected
):
    assert cell().published.score == "89.8" and cell().tolerance == 0.3
    assert verdict(measured, cell()) == expected


@pytest.mark.parametrize(
    ("printed", "score", "digits"),
    [("98.0", "98.0", 1), ("0.8902", "89.02", 2), ("0.597", "59.7", 1), ("+1.7%", "1.7", 1), ("-0.8%", "-0.8", 1),
     ("165%", "165", 0), ("0.89", "89", 0), ("82.07", "82.07", 2)],
)  # fmt: skip
def test_digits_are_those_that_were_printed(printed, score, digits):
    fields = dict.fromkeys(Published._fields, "") | {"printed": printed, "score": score}
    assert Published(**fields).digits == digits


def test_without_records_no_cell_of_any_table_shows_a_number_as_measured(tmp_path):
    for name in table_names():
        judged = judge(table(name), Records(tmp_path))
        for *_, result in judged.results:
            told = words(judged, result)
            assert (result.measured, result.difference, result.verdict, told.measured) == (
                None,
                None,
                "not run",
                DASH,
            )
            assert str(told).startswith(f"{DASH} ({told.published})")
    code, out, _ = run("--all", "--results", tmp_path, "--out", tmp_path / "out", "--json")
    cells = [found for one in json.loads(out)["tables"] for found in one["cells"]]
    assert code == 0 and len(cells) == 1188 and {found["measured"] for found in cells} == {None}
    lines = list(csv.DictReader(StringIO((tmp_path / "out/report.csv").read_text())))
    assert len(lines) == len(cells) and {
        line["measured"] + line["difference"] for line in lines
    } == {""}


def test_a_measured_cell_shows_measured_interval_published_difference_and_verdict(tmp_path):
    write_record(tmp_path, "flickr-quoted", "jina-clip-v2", {T2I: 0.9}, ci_low=0.89, ci_high=0.91)
    found = score(tmp_path)
    assert (
        str(words(judge(table("v2post-flickr30k"), Records(tmp_path)), found))
        == "90.00 [89.00, 91.00] (89.8, +0.20) reproduced"
    )


def test_a_change_in_per_cent_is_made_of_two_measured_scores(tmp_path):
    place = ("Text-to-image", "jina-clip-v2", "Relative to v1")
    write_record(tmp_path, "flickr-quoted", "jina-clip-v2", {T2I: 0.9})
    assert score(tmp_path, place=place).verdict == "not run"
    write_record(tmp_path, "flickr-quoted", "jina-clip-v1", {T2I: 0.8}, width=768)
    assert score(tmp_path, place=place).measured == pytest.approx(12.5)


def test_an_average_needs_every_member_and_says_how_many_are_there(tmp_path):
    average = ("Crossmodal 3600", "jina-clip-v2", "Score")
    places = [
        place
        for group in cell("v2post-multilingual-t2i", " / ".join(average)).selector.groups
        for place in group
    ]
    write_record(tmp_path, "xm3600-first", "jina-clip-v2", dict.fromkeys(places[:-1], 0.5))
    found = score(tmp_path, "v2post-multilingual-t2i", average)
    assert (found.measured, found.coverage) == (None, "25 of 26 languages")
    judged = judge(table("v2post-multilingual-t2i"), Records(tmp_path))
    assert str(words(judged, found)) == f"{DASH} (81.43) 25 of 26 languages"
    # the members' intervals do not add up to one of the mean, and none of them stands for it
    ends = {"ci_low": 0.4, "ci_high": 0.8}
    write_record(tmp_path, "xm3600-first", "jina-clip-v2", dict.fromkeys(places[:-1], 0.5), **ends)
    write_record(tmp_path, "xm3600-first", "jina-clip-v2", {places[-1]: 0.76}, **ends)
    found = score(tmp_path, "v2post-multilingual-t2i", average)
    assert (found.coverage, found.low) == ("26 of 26 languages", None)
    assert found.measured == pytest.approx(51.0)


def test_the_newest_whole_float32_record_at_full_width_is_taken(tmp_path):
    def stamped(number: int, **how) -> None:
        path = write_record(
            tmp_path,
            how.pop("benchmark", "flickr-quoted"),
            "jina-clip-v2",
            {T2I: number / 100},
            **how,
        )
        resigned(path, written=f"2026-01-{number}T00:00:00Z")

    stamped(10)
    stamped(12)
    stamped(11)
    stamped(20, benchmark="flickr-quoted.partial")
    stamped(21, partial={"limit": 5})
    stamped(22, precision="int8")
    stamped(23, dim=64)
    assert score(tmp_path).measured == pytest.approx(12.0)


def test_a_task_of_mteb_that_was_limited_to_a_subset_has_that_subset_whole(tmp_path):
    place = next(iter(cell("v1paper-t11", "STS17 / JinaCLIP").selector.groups))[0]
    assert place.subset == "en-en" and place.keys[-2:] == (
        "mteb.STS17.partial",
        "mteb.STS17.test.partial",
    )
    write_record(
        tmp_path,
        "mteb.STS17.partial",
        "jina-clip-v1",
        {place: 0.8977},
        width=768,
        partial={"subsets": ["en-en"]},
    )
    assert score(tmp_path, "v1paper-t11", ("", "STS17", "JinaCLIP")).verdict == "exact"


def test_records_of_another_name_stand_in_when_asked(tmp_path):
    write_record(tmp_path, "flickr-quoted", "my-checkpoint", {T2I: 0.898})
    args = ("--table", "v2post-flickr30k", "--results", tmp_path, "--json")
    assert [found["measured"] for found in json.loads(run(*args)[1])["tables"][0]["cells"]].count(
        None
    ) == 12
    code, out, _ = run(*args, "--as", "jina-clip-v2=my-checkpoint")
    verdicts = [found["verdict"] for found in json.loads(out)["tables"][0]["cells"]]
    assert code == 0 and verdicts.count("exact") == 1


def test_strict_fails_on_a_deviation_only(tmp_path):
    args = ("--table", "v2post-flickr30k", "--results", tmp_path / "runs", "--strict")
    assert run(*args)[0] == 0
    write_record(tmp_path / "runs", "flickr-quoted", "jina-clip-v2", {T2I: 0.95})
    assert run(*args)[0] == 1


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("--table", "v2post-flicker30k"), "Did you mean v2post-flickr30k"),
        ((), "Name a --table"),
        (("--all", "--format", "pdf"), "no format 'pdf'"),
        (("--all", "--as", "jina-clip-v2"), "MODEL=NEW"),
        (("--all", "--as", "jina-clip-v3=x"), "no model 'jina-clip-v3'"),
        (("--needs", "gpt"), "no model 'gpt'"),
    ],
)
def test_what_cannot_be_meant_exits_with_2(args, part, tmp_path):
    code, _, err = run(*args, "--results", tmp_path, "--out", tmp_path)
    assert code == 2 and part in err


@pytest.mark.parametrize("file", ["metrics.jsonl", "queries.parquet", "manifest.json"])
def test_a_broken_record_exits_with_3_and_names_the_file(tmp_path, file):
    path = write_record(tmp_path / "runs", "flickr-quoted", "jina-clip-v2", {T2I: 0.9}) / file
    path.write_bytes(path.read_bytes().replace(b"9", b"8"))
    code, _, err = run("--table", "v2post-flickr30k", "--results", tmp_path / "runs")
    assert code == 3 and str(path) in err


def test_a_number_that_is_there_twice_is_refused(tmp_path):
    values = {T2I: 0.9, T2I._replace(dim=1024): 0.8}
    with pytest.raises(InvalidError, match=r"R@5 of en t2i, dim 1024 float32 stands twice"):
        write_record(tmp_path, "flickr-quoted", "jina-clip-v2", values)


def test_needs_names_what_is_left_to_evaluate(tmp_path):
    def calls(model: str) -> list[list[str]]:
        return json.loads(run("--needs", model, "--results", tmp_path, "--json")[1])["calls"]

    of_v2 = calls("jina-clip-v2")
    assert of_v2[:2] == [
        ["flickr-quoted", "xm3600-first", "xtd", "xtd200"],
        ["coco", "--dims", "1024,256,128"],
    ]
    assert not any("flickr8k-quoted" in call for call in of_v2)
    write_record(tmp_path, "flickr-quoted", "jina-clip-v2", {T2I: 0.9, I2T: 0.9})
    assert ["xm3600-first", "xtd", "xtd200"] in calls("jina-clip-v2")
    of_v1 = calls("jina-clip-v1")
    assert ["mteb:STS17/test", "--subsets", "en-en"] in of_v1
    assert sum(len(call) for call in of_v1 if "cars" in call) == 38
    assert {"mteb:MSMARCO/dev", "mteb:BIOSSES/test"} <= {
        name for call in of_v1 for name in call
    } & {n for call in of_v2 for n in call}
