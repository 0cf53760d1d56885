"""--dry-run says what would be encoded, how many bytes and how long by this machine's records, and does nothing."""

import json
import shutil
from pathlib import Path

import pytest

from tests import commands


def test_a_dry_run_counts_what_the_store_lacks_and_times_it_by_records(tmp_path: Path) -> None:
    where = ["--results", tmp_path / "runs", "--store", tmp_path / "store"]
    arguments = ["scenes", "--model", "tiny", "--subsets", "en", *where]

    def dry(module: str = "evals.run", *more: str) -> dict:
        named = arguments if module == "evals.run" else ["--benchmarks", "scenes", *arguments[1:]]
        done = commands.run(*named, *more, "--dry-run", "--json", cwd=tmp_path, module=module)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    before = dry()
    counts = {line["kind"]: (line["items"], line["missing"]) for line in before["dry_run"]}
    assert counts["image"] == (500, 500) and counts["text"] == (1000, 851)
    assert before["seconds"] is None  # no record tells a rate
    assert not (tmp_path / "runs").exists()
    images = next(line for line in before["dry_run"] if line["kind"] == "image")
    assert images["bytes"] == 500 * 256 * 4
    done = commands.run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [record] = (tmp_path / "runs").glob("*/tiny/*/manifest.json")
    seconds = json.loads(record.read_text())["seconds"]
    after = dry("evals.mrl_sweep")
    assert all(line["missing"] == line["seconds"] == 0 for line in after["dry_run"])
    # another limit of the texts: German ones are not stored, and take as long as English ones did
    arguments[4] = "de"
    [texts] = [line for line in dry()["dry_run"] if line["kind"] == "text"]
    assert texts["seconds"] == pytest.approx(
        texts["missing"] * seconds["encode_text"] / 851, rel=1e-6
    )
    printed = commands.run(*arguments, "--dry-run", cwd=tmp_path).stdout
    assert "to encode" in printed and "Together: " in printed
    # by a record of workers, whose seconds of texts are those of reading what the workers stored
    shutil.rmtree(tmp_path / "runs")
    done = commands.run(*arguments, "--workers", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    arguments[4] = "fr"
    [texts] = [line for line in dry()["dry_run"] if line["kind"] == "text"]
    assert texts["missing"] and texts["seconds"] is None
