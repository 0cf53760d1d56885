"""Results of benchmarks as a page of the site and as a table: shares, limits, peers, and what is no result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.summary import summary
from evals.dashboard.history import read_history
from evals.dashboard.site import Verdicts, build
from evals.dashboard.speed import speed_pages
from evals.dashboard.timings import read_timings
from evals.schema import InvalidError, MissingError
from tests.test_dashboard import Page

ROOT = Path(__file__).parents[1]
H200 = {"accelerator": "NVIDIA H200", "processor": "Xeon", "cores": 16}
CPU = {"accelerator": None, "processor": "AMD EPYC", "cores": 2}


def write(folder: Path, name: str, **fields) -> None:
    content = {
        "benchmark": "text_tower",
        "date": "2026-11-27T19:51:22Z",
        "machine": H200,
        "source": {"commit": "75f3212" + "0" * 33, "dirty": True},
        "figures": {"v2 captions: tokens/s": 562177.2, "v2 captions: share of the matmul rate": 0.46},
        "ratios": {"v2 captions: timm / ours": 2.5, "v2 captions: plain / ours": 1.5, "v1: x / ours": 1.1},
        "agree": True,
    }  # fmt: skip
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content | fields))


def test_a_case_has_its_share_its_rate_and_the_contender_that_came_nearest(tmp_path):
    write(tmp_path, "h200/text_tower.json")
    [timing] = read_timings(tmp_path)
    assert timing == (
        "2026-11-27T19:51:22Z", "NVIDIA H200", "text_tower", "v2 captions", "562,177 tokens/s", 0.46,
        "the matmul rate", "plain", 1.5, True, "75f32120+",
    )  # fmt: skip


def test_how_many_times_longer_it_took_is_a_share_too(tmp_path):
    figures = {
        "5,000 x 25,000: ours / bare matmul": 4.0,
        "5,000 x 25,000: recall": {"t2i/R@1": 0.5},
    }
    write(tmp_path, "recall.json", benchmark="recall", figures=figures, ratios={}, source=None)
    [timing] = read_timings(tmp_path)
    assert (timing.share, timing.limit) == (0.25, "the bare product")
    assert (timing.rate, timing.peer, timing.ratio, timing.commit) == ("", None, None, "")


def test_a_share_of_something_else_is_no_limit(tmp_path):
    figures = {"photos: share of uint8 values that fast changes": 0.003, "photos: most": "2"}
    write(tmp_path, "decode.json", figures=figures)
    assert read_timings(tmp_path) == []


def test_a_processor_is_named_with_its_cores_and_runs_stand_by_date(tmp_path):
    write(tmp_path, "new.json", date="2026-11-28T00:00:00Z")
    write(tmp_path, "old.json", date="2026-11-21T00:00:00Z", machine=CPU)
    assert [timing.device for timing in read_timings(tmp_path)] == [
        "AMD EPYC, 2 cores",
        "NVIDIA H200",
    ]


def test_a_file_of_something_else_is_named(tmp_path):
    write(tmp_path, "ours.json")
    (tmp_path / "other.json").write_text('{"benchmark": "x"}')
    with pytest.raises(InvalidError, match=r"other\.json: no result of a benchmark"):
        read_timings(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"absent: no such folder.*make bench"):
        read_timings(tmp_path / "absent")


def test_the_page_of_speed_is_there_when_its_results_are_named(tmp_path):
    write(tmp_path / "timings", "a.json", agree=False)
    history = read_history(tmp_path)
    build(history, Verdicts(), tmp_path / "with", timings=read_timings(tmp_path / "timings"))
    build(history, Verdicts(), tmp_path / "without")
    [row] = Page(tmp_path / "with" / "speed.html").rows("speed")
    assert row["device"] == "NVIDIA H200"
    assert (row["timing"], row["share"], row["peer"], row["ratio"]) == (
        "text tower",
        0.46,
        "plain",
        1.5,
    )
    assert row["outputs"] == "differ"
    assert "speed.html" in (tmp_path / "with" / "index.html").read_text()
    assert not (tmp_path / "without" / "speed.html").exists()
    assert "speed.html" not in (tmp_path / "without" / "index.html").read_text()
    assert speed_pages([]) == []


def test_text_of_a_result_stays_text(tmp_path):
    write(tmp_path / "timings", "a.json", machine={**H200, "accelerator": "</script><b>|x"})
    timings = read_timings(tmp_path / "timings")
    build(read_history(tmp_path), Verdicts(), tmp_path / "site", timings=timings)
    page = Page(tmp_path / "site" / "speed.html")
    assert page.rows("speed")[0]["device"] == "</script><b>|x"
    assert "b" not in [tag for tag, _ in page.tags]
    assert "<b>" not in summary(timings)


def test_the_dashboard_takes_them_by_an_option(tmp_path):
    write(tmp_path / "timings", "a.json")
    command = [
        sys.executable,
        "-m",
        "evals.dashboard",
        "--timings",
        str(tmp_path / "timings"),
        "--out",
        "site",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "speed.html").is_file()


def test_the_committed_summary_is_that_of_the_committed_results():
    folder = ROOT / "benchmarks" / "results"
    assert (folder / "README.md").read_text(encoding="utf-8") == summary(read_timings(folder)), (
        "python -m benchmarks.summary writes it"
    )
