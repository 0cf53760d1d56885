"""`evals.report --claims`: a model card's table against the records."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.report.__main__ import app
from evals.report.claims import check_claims
from evals.report.claims_csv import read_claims
from evals.report.claims_shown import print_claims
from evals.report.measured import Records
from evals.report.names import MAIN, Place
from evals.schema import ConfigError
from tests import records as toy_records
from tests.published_toys import encoder, write_record

T2I = Place("flickr-quoted", None, "en", "t2i", "R@5", None)
STS = Place("mteb:STS17/test", "test", "en-en", "test", "cosine_spearman", None)
HEADER = "model,benchmark,metric,value"


@pytest.fixture
def check(tmp_path: Path):
    """The command on a file of these lines; records lie in `tmp_path / "runs"`."""

    def run(*lines: str, options: tuple[str, ...] = ("--json",)):
        file = tmp_path / "card.csv"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        places = ["--results", str(tmp_path / "runs")]
        return CliRunner().invoke(app, ["--claims", str(file), *places, *options])

    return run


def claims_of(done) -> list[dict]:
    return json.loads(done.stdout)["claims"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    values = {T2I: 0.9, T2I._replace(direction="i2t"): 0.8, T2I._replace(dim=256): 0.7}
    values[T2I._replace(metric="median_rank")] = 3.0
    write_record(folder, "flickr-quoted", "jina-clip-v2", values, ci_low=0.89, ci_high=0.91)
    return folder


def test_a_claim_agrees_or_deviates_and_the_worst_verdict_is_the_exit_code(check, runs):
    row = "jina-clip-v2,flickr-quoted/en,t2i/R@5"
    done = check(HEADER, f"{row},89.8")
    [claim] = claims_of(done)
    assert (done.exit_code, claim["verdict"]) == (0, "agrees")
    assert (claim["claimed"], claim["measured"], claim["ci_low"]) == (89.8, 90.0, 89.0)
    assert claim["deviation"] == pytest.approx(0.2)
    # too high is as far off as too low
    for value in ("91.0", "89.0"):
        assert check(HEADER, f"{row},{value}").exit_code == 1
    missing = check(HEADER, f"{row},80", "jina-clip-v1,flickr-quoted/en,t2i/R@5,80")
    assert missing.exit_code == 3
    assert [claim["verdict"] for claim in claims_of(missing)] == ["deviates", "not measured"]
    assert [claim["measured"] for claim in claims_of(missing)] == [90.0, None]


@pytest.mark.parametrize("width", [60, 72, 84, 120])
def test_no_name_and_no_verdict_is_broken_or_cut_in_a_narrow_terminal(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    names = [
        "jina-clip-v2",
        "flickr-quoted/en",
        "mteb:TwitterSemEval2015/test",
        "t2i/R@5",
        "max_ap",
    ]
    file = tmp_path / "card.csv"
    file.write_text(
        f"{HEADER}\n{names[0]},{names[1]},{names[3]},91\n{names[0]},{names[2]},{names[4]},88.1\n"
    )
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    print_claims(check_claims(read_claims(file), Records(runs), {}))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert {*names, "91", "90.00", "deviates", "88.1", "not", "measured"} <= set(words)


@pytest.mark.parametrize(
    ("value", "tolerance", "verdict"),
    [
        ("89.7", "", "agrees"), ("89.69", "", "deviates"), ("90.3", "", "agrees"), ("90.31", "", "deviates"),
        ("89.0", "1", "agrees"), ("88.9", "1", "deviates"), ("90.0", "0", "agrees"), ("90.06", "0", "deviates"),
        ("90", "0", "agrees"), ("91", "0", "deviates"),
    ],
)  # fmt: skip
def test_the_tolerance_is_three_tenths_or_what_the_line_says_or_the_rounding(
    check, runs, value, tolerance, verdict
):
    done = check(
        f"{HEADER},tolerance", f"jina-clip-v2,flickr-quoted/en,t2i/R@5,{value},{tolerance}"
    )
    assert [claim["verdict"] for claim in claims_of(done)] == [verdict]


def test_a_claim_names_rows_papers_names_tasks_ids_dimensions_and_fractions(check, runs):
    write_record(runs, "mteb.STS17", "jina-clip-v2", {STS: 0.85, STS._replace(subset="ko-ko"): 0.8})
    done = check(
        f"{HEADER},dim,unit",
        "jina-clip-v2,Flickr30k,t2i/recall@5,90.0,,",
        "jinaai/jina-clip-v2,flickr-quoted,i2t/R@5,0.8,,fraction",
        "jina-clip-v2,flickr-quoted,t2i/R@5,70%,256,percent",
        "jina-clip-v2,flickr-quoted,t2i/median_rank,3,,",
        "jina-clip-v2,mteb:STS17/test/en-en,spearman,85.00,,",
        "jina-clip-v2,mteb:STS17/test/*,cosine_spearman,0.825,,fraction",
    )
    assert done.exit_code == 0, done.output
    assert [claim["measured"] for claim in claims_of(done)] == pytest.approx(
        [90, 80, 70, 3, 85, 82.5]
    )


def test_the_name_of_a_published_model_is_its_checkpoint_and_any_other_that_of_records(
    check, tmp_path
):
    runs = tmp_path / "runs"
    place = "flickr-quoted,t2i/R@5,90.0"
    line = toy_records.line("R@5", 0.9, subset="en", direction="t2i", dim=1024)
    for name in ("jina-clip-v2", "mine"):
        about = {"benchmark": "flickr-quoted", "model": name, "partial": None}
        source = encoder(name, 1024, repo="somebody/else", revision="1" * 40)
        toy_records.write(runs, [line], **about, encoder=source)
    done = check(HEADER, f"jina-clip-v2,{place}", f"mine,{place}")
    published, mine = claims_of(done)
    assert (published["verdict"], mine["verdict"]) == ("not measured", "agrees")
    assert "somebody/else" in published["why"]
    assert (
        check(HEADER, f"jina-clip-v2,{place}", options=("--as", "jina-clip-v2=mine")).exit_code == 0
    )


def test_what_a_record_has_several_times_must_be_named(check, runs):
    write_record(runs, "mteb.STS17", "jina-clip-v2", {STS: 0.85, STS._replace(subset="ko-ko"): 0.8})
    done = check(HEADER, "jina-clip-v2,mteb:STS17/test,spearman,85", options=())
    assert done.exit_code == 2 and "en-en test, ko-ko test" in done.stderr
    done = check(HEADER, "jina-clip-v2,flickr-quoted,R@5,85", options=())
    assert done.exit_code == 2
    assert "line 2, column benchmark" in done.stderr and "en t2i, en i2t" in done.stderr


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["model,benchmark,metric"], "line 1: the column value is missing"),
        ([f"{HEADER},note"], "line 1: unknown column 'note'"),
        ([f"{HEADER},model"], "line 1: the column model is there twice"),
        ([HEADER], "holds no claims"),
        ([HEADER, "", "  "], "holds no claims"),
        (
            [HEADER.replace(",", ";"), "a;scenes;t2i/R@5;50,1"],
            "line 1: its columns are separated by",
        ),
        (
            [HEADER, "a,scenes,t2i/R@5,50,1"],
            "line 2: 5 fields, and the header has 4. Write a number",
        ),
        (
            [HEADER, 'a,scenes,t2i/R@5,"50,1"'],
            "line 2, column value: '50,1' is no number such as 89.8",
        ),
        ([HEADER, "a,scenes,t2i/R@5"], "line 2: 3 fields, and the header has 4"),
        ([HEADER, ",scenes,t2i/R@5,50"], "line 2, column model: is empty"),
        ([HEADER, "a,scenes,t2i/R@5,50", "a,scenes,t2i/R@1,n/a"], "line 3, column value: 'n/a'"),
        ([HEADER, "a,scenes,t2i/R@5,nan"], "line 2, column value"),
        ([HEADER, "a,scenes,t2i/R@5,٥٠"], "line 2, column value"),
        ([HEADER, "a,scenes,t2i/R@5,0.5"], "Add a column `unit` with `fraction`"),
        ([f"{HEADER},unit", "a,scenes,t2i/R@5,50,points"], "line 2, column unit: 'points'"),
        ([f"{HEADER},unit", "a,scenes,t2i/R@5,50%,fraction"], "line 2, column value: 50% is in"),
        ([f"{HEADER},tolerance", "a,scenes,t2i/R@5,50,-1"], "line 2, column tolerance"),
        ([f"{HEADER},dim", "a,scenes,t2i/R@5,50,0"], "line 2, column dim"),
        ([HEADER, 'a,sc"enes,t2i/R@5,50', '"a'], "line 3: no CSV"),
        (
            [HEADER, *["a,scenes/en,t2i/R@5,50"] * 2],
            "line 3, column metric: line 2 claims the same",
        ),
        ([HEADER, "a,scnes,t2i/R@5,50"], "line 2, column benchmark: no benchmark 'scnes'. Did you"),
        ([HEADER, "a,scenes,t2i/RR5,50"], "line 2, column metric: no metric 'RR5'"),
        ([HEADER, "a,mteb:STS17,spearman,50"], "line 2, column benchmark: write mteb:TASK/SPLIT"),
        ([HEADER, "a,mteb:STS17/test,t2i/spearman,50"], "line 2, column metric: mteb knows no"),
        ([HEADER, "a,crossmodal3600/xx,t2i/R@5,50"], "has no language 'xx'"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_line_and_column(check, lines, says):
    done = check(*lines, options=())
    assert done.exit_code == 2
    assert says in done.stderr and "card.csv" in done.stderr


def test_a_file_that_is_missing_or_no_text_is_refused(check, tmp_path):
    done = CliRunner().invoke(app, ["--claims", str(tmp_path / "none.csv")])
    assert (done.exit_code, "none.csv" in done.stderr) == (5, True)
    (tmp_path / "bad.csv").write_bytes(HEADER.encode() + b"\n\xff")
    done = CliRunner().invoke(app, ["--claims", str(tmp_path / "bad.csv")])
    assert (done.exit_code, "line 2: not UTF-8" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--check", "--check and --claims are two jobs"),
        ("--strict", "--strict means nothing beside --claims"),
        ("--all", "--all means nothing beside --claims"),
    ],
)
def test_an_option_that_claims_would_not_heed_is_refused(check, option, message):
    done = check(HEADER, "jina-clip-v2,flickr,t2i R@1,89.7", options=(option,))
    assert done.exit_code == 2 and message in done.stderr


def test_the_units_of_a_file_are_per_cent_unless_it_says_otherwise(tmp_path):
    file = tmp_path / "card.csv"
    file.write_text(f"\ufeff{HEADER}\r\na,scenes,t2i/R@5, 0.5\r\nb,scenes,t2i/R@5,50\r\n", "utf-8")
    low, high = read_claims(file)
    file.write_text(f"{HEADER}\na,scenes,t2i/R@5,50 %\n\nb,scenes,t2i/R@5,5\n")
    assert [claim.value for claim in read_claims(file)] == [50, 5]
    assert (low.value, low.rounding, high.value, high.rounding) == (0.5, 0.05, 50, 0.5)
    file.write_text(f"{HEADER},unit\na,scenes,t2i/R@5,0.5,fraction\n")
    assert read_claims(file)[0].value == 50
    # 1.00 as a spreadsheet keeps it: half of its last digit would be 50 points.
    for printed, rounding in (("1", 0.5), ("0.9", 0.5), ("0.90", 0.5), ("0.898", 0.05)):
        file.write_text(f"{HEADER},unit\na,scenes,t2i/R@5,{printed},fraction\n")
        assert read_claims(file)[0].rounding == pytest.approx(rounding)
    with pytest.raises(ConfigError):
        file.write_text(f"{HEADER}\na,scenes,t2i/R@5,0.5\n")
        read_claims(file)


def test_the_table_shows_what_was_measured_and_never_a_claim_in_its_place(check, runs, tmp_path):
    files = ("--csv", str(tmp_path / "out.csv"), "--markdown", str(tmp_path / "out.md"))
    done = check(
        HEADER,
        "jina-clip-v2,flickr-quoted/en,t2i/R@5,89.80",
        "jina-clip-v1,flickr-quoted/en,t2i/R@5,88.88",
        '"=1+1|x",flickr-quoted/en,t2i/R@5,77.77',
        options=files,
    )
    assert done.exit_code == 3
    assert done.stdout.startswith("1 of 3 claims measured: 1 agrees, 0 deviate.")
    assert "Not measured (line 3, 4): no record has it" in done.stdout
    page = (tmp_path / "out.md").read_text()
    measured = "89.80 | 90.00 | \\[89.00, 91.00\\] | +0.20 | agrees |"
    assert f"| jina-clip-v2 | flickr-quoted/en | t2i/R@5 | {measured}" in page
    assert "| jina-clip-v1 | flickr-quoted/en | t2i/R@5 | 88.88 | – |  |  | not measured |" in page
    assert "=1+1\\|x" in page and page.count("not measured") == 2
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["measured"] for row in rows] == ["90", "", ""]
    assert [row["claimed"] for row in rows] == ["89.8", "88.88", "77.77"]
    assert rows[2]["model"].startswith("'=")


def test_data_of_ones_own_is_named_as_its_records_are(check, tmp_path):
    assert check(HEADER, "a,birds,t2i/R@5,50").exit_code == 2
    place = T2I._replace(benchmark="birds")
    write_record(tmp_path / "runs", "birds", "a", {place: 0.5})
    done = check(HEADER, "a,birds/en,t2i/R@5,50")
    assert (done.exit_code, claims_of(done)[0]["measured"]) == (0, 50.0)


def test_main_score_of_a_task_is_whatever_mteb_judges_it_by(check, tmp_path):
    place = Place("mteb:ArguAna/test", "test", "default", "test", MAIN, None)
    write_record(tmp_path / "runs", "mteb.ArguAna", "a", {place: 0.4})
    assert check(HEADER, "a,mteb:ArguAna/test/default,main score,40.0").exit_code == 0
    assert check(HEADER, "a,mteb:ArguAna/test,main score,40.0").exit_code == 0
