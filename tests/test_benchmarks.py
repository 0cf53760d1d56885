"""The benchmarks answer, agree with their peers at toy sizes, and their harness fails what it should."""

import argparse
import importlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import pytest

from benchmarks.harness import Lap, finish, largest_difference, peak_memory, race

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    # what they share, parts of one benchmark, and tables made of what there is
    if path.stem
    not in (
        "__init__",
        "flops",
        "harness",
        "job_data",
        "meter",
        "scale_costs",
        "scale_preemption",
        "scale_search",
        "summary",
        "synthetic",
    )
)
# Processes that load libraries, one after the other: `make test-slow` runs them
SECONDS_EACH = ("crossmodal", "job", "scale", "startup")
ALONE = ("ceilings", "job")  # nobody's code runs beside them
TOYS = {
    "ceilings": (["--small", "--rounds", "1"], []),
    "job": (["--small", "--width", "64"], []),
    "crossmodal": (["--small", "--languages", "1"], []),
    "scale": (
        ["--small", "--only", "preemption", "--only", "search", "--only", "index"],
        ["faiss"],
    ),
    "sweep": (["--small", "--rounds", "1"], []),
    "multilingual": (
        ["--small", "--images", "12", "--languages", "2", "--width", "80", "--rounds", "2"],
        ["clip_benchmark"],
    ),
    "startup": (["--only", "tiny", "--small", "--rounds", "1"], ["transformers"]),
}


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_says_what_it_takes(name, monkeypatch, capsys):
    """In this process: each of them loads torch."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with patch.dict(os.environ), pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert all(option in help_text for option in ("--small", "--device", "--rounds", "--json"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SECONDS_EACH else ())
        for name in sorted(TOYS)
    ],
)
def test_at_toy_size_a_benchmark_agrees_with_its_peer(name, tmp_path):
    arguments, peers = TOYS[name]
    for peer in peers:
        if find_spec(peer) is None:
            pytest.skip(f"{peer} is not installed")
    done = run(name, *arguments, "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    result = strict(tmp_path / "out.json")
    assert result["agree"]
    assert {"machine", "packages", "date", "conditions", "ratios", "differences"} <= result.keys()
    assert bool(result["ratios"]) == (name not in ALONE)
    assert result["differences"]
    assert all(
        lap["seconds"] and min(lap["seconds"]) > 0
        for case in result["cases"].values()
        for lap in case.values()
    )


@pytest.mark.slow
def test_the_job_says_its_floor_and_encodes_nothing_again(tmp_path):
    """One in fifty of six benchmarks' items; all texts of a benchmark are distinct."""
    done = run("job", "--small", "--width", "64", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    result = strict(tmp_path / "out.json")
    figures, floor = result["figures"], result["figures"]["floor, s"]
    images = {name: of["images"] for name, of in result["conditions"]["benchmarks"].items()}
    assert images == {
        "flickr": 20,
        "flickr8k": 20,
        "coco": 100,
        "xtd": 20,
        "xm3600": 72,
        "xflickr": 40,
    }
    assert figures["encoded"]["image"] == sum(images.values())
    assert floor["all"] == pytest.approx(floor["images"] + floor["texts"] + floor["products"])
    assert min(floor.values()) > 0
    assert figures["the job: share of the floor"] == pytest.approx(
        1 / figures["the job: time / floor"]
    )
    assert result["differences"]["items that were encoded again"]["found"] == 0


def strict(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_contenders_take_turns_after_an_uncounted_round():
    calls = []
    laps, outputs = race(
        {"a": lambda: calls.append("a") or 1, "b": lambda: calls.append("b") or 2}, rounds=2
    )
    assert calls == ["a", "b"] * 3
    assert {name: len(lap.seconds) for name, lap in laps.items()} == {"a": 2, "b": 2}
    assert outputs == {"a": 1, "b": 2}


def test_the_fastest_round_counts():
    assert Lap([3.0, 1.0, 2.0], 0.0).best == 1.0


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc"
)
def test_peak_memory_sees_what_was_freed_again():
    assert 90 <= peak_memory(lambda: len(b"\1" * 100_000_000)) <= 120


@pytest.fixture
def finished(tmp_path):
    """What `finish` writes for one difference of 0.2 where 0.1 or 0.3 passes."""

    def call(found: float, allowed: float) -> dict:
        out = tmp_path / "out.json"
        args = argparse.Namespace(json=out, device="cpu", small=True)
        laps = {"case": {"ours": Lap([1.0], float("nan")), "peer": Lap([2.0], 5.0)}}
        try:
            finish(
                "toy",
                args,
                conditions={},
                laps=laps,
                ratios={"x": 2.0},
                differences={"rows": (found, allowed)},
            )
        except SystemExit as exit:
            assert isinstance(exit.code, str)  # printed, and the status is 1
            assert not strict(out)["agree"]
            raise
        return strict(out)

    return call


@pytest.mark.parametrize(
    ("found", "allowed"), [(0.2, 0.1), (float("nan"), 1.0), (float("inf"), 1.0)]
)
def test_outputs_that_differ_fail_and_are_written_down(finished, found, allowed):
    with pytest.raises(SystemExit, match="differ"):
        finished(found, allowed)


def test_a_result_is_strict_json_with_all_that_it_takes_to_believe_it(finished):
    result = finished(0.2, 0.3)
    assert result["agree"]
    assert result["cases"]["case"]["ours"] == {"seconds": [1.0], "best": 1.0, "peak_mb": None}
    assert result["differences"] == {"rows": {"found": 0.2, "allowed": 0.3}}
    assert result["machine"]["threads"] >= 1
    assert {"command", "date", "packages", "source", "conditions", "figures"} <= result.keys()


def test_arrays_of_other_shapes_are_infinitely_different():
    assert largest_difference([1.0, 2.0], [1.0, 2.5]) == 0.5
    assert largest_difference([1.0], [1.0, 2.0]) == float("inf")
