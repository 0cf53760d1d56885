"""Somebody alters a record, and makes its hashes anew or not: it is found, or is said only once."""

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evals.analysis.proof import prove_record
from evals.records.manifest import MANIFEST
from evals.records.rankings import BEST
from tests import records
from tests.commands import run
from tests.tampering import rehash, tamper

TAMPERINGS = 100


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two dimensions with all that one may hold: rankings, rows, and distractors."""
    root = tmp_path_factory.mktemp("rich")
    (root / "more").mkdir()
    for number in range(12):
        image = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "more" / f"{number}.png")
    done = run(
        "scenes", "--model", "tiny", "--subsets", "en", "--limit", "60", "--dims", "256,64", "--keep-top", "20",
        "--keep-embeddings", "--distractors", f"images:{root / 'more'}", cwd=root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [manifest] = (root / "results" / "runs").rglob(MANIFEST)
    return manifest.parent


@pytest.fixture
def copy(rich: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    shutil.copytree(rich, path)
    return path


def files_of(record: Path) -> list[Path]:
    return [path for path in record.rglob("*") if path.is_file()]


# What a record says once, of how it was made: nothing else in it can tell that it was altered.
SAID_ONCE = re.compile(
    r"manifest\.json (attempt|batches|command|config|data\.en\.(content|origin)|distractors|encoded"
    r"|encoder\.(dim|fingerprint|source)|finished|host|lengths|packages|partial|peak_memory_mb"
    r"|seconds|source|started|status|usage|written|zero_rows)\b.*"
    # Of a query whose best document ties with none; and of what its rankings do not reach.
    r"|queries\.parquet (tied_relevant|score)"
    # the name of a document that is not relevant
    r"|best\.parquet doc_id"
    r"|distractors\.jsonl ci_(low|high)"
)


def test_alterations_whose_hashes_were_made_anew_are_found_or_are_said_once(copy: Path) -> None:
    assert not prove_record(copy).problems
    original = {file: file.read_bytes() for file in files_of(copy)}
    found = 0
    for seed in range(TAMPERINGS):
        altered = tamper(copy, random.Random(seed), hashes_anew=True)
        proof = prove_record(copy)
        # A key that was taken out may be one that an earlier version did not write.
        if proof.problems or any("taken out" in note for note in proof.notes):
            found += 1
        else:
            assert SAID_ONCE.fullmatch(f"{altered.file} {altered.place}"), altered
        for file, data in original.items():
            file.write_bytes(data)
    assert found > 0.6 * TAMPERINGS


def test_every_alteration_whose_hashes_were_not_made_anew_is_found(copy: Path) -> None:
    original = {file: file.read_bytes() for file in files_of(copy)}
    for seed in range(TAMPERINGS):
        altered = tamper(copy, random.Random(seed), hashes_anew=False)
        assert prove_record(copy).problems, altered
        for file, data in original.items():
            file.write_bytes(data)


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("model", "other", "model is 'other', and encoder.name 'tiny'"),
        ("main_metric", "R@10", "main_metric is 'R@10', and metrics.jsonl begins with 'R@1'"),
        ("partial", None, "is a part of a benchmark, and partial does not say which"),
        ("data", {"en": {"content": "x", "images": 60, "texts": 121}}, "counts 121 texts"),
    ],
)
def test_a_manifest_that_says_two_things_is_found(
    copy: Path, entry: str, value: Any, words: str
) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | {entry: value}))
    rehash(copy)
    assert any(words in problem for problem in prove_record(copy).problems)


def test_an_entry_that_was_taken_out_of_the_manifest_is_noted(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["source"], manifest["config"]["max_length"], manifest["data"]["en"]["texts"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    rehash(copy)
    [note] = [note for note in prove_record(copy).notes if "taken out" in note]
    assert "no source, config.max_length, data.en.texts:" in note


def test_a_record_of_the_first_version_lacks_nothing() -> None:
    [manifest] = (Path(__file__).parents[1] / "results" / "baselines" / "ci").rglob(MANIFEST)
    assert not any("taken out" in note for note in prove_record(manifest.parent).notes)


def test_a_task_of_mteb_has_the_interval_of_its_main_metric_alone(tmp_path: Path) -> None:
    """Its values per query may be of another metric: accuracy has those of recall_at_1."""
    table = records.values(4, value=[1.0, 0.0, 1.0, 1.0])
    beside = records.line("recall_at_1", 0.75, direction="test")
    path = records.write(
        tmp_path / "beside",
        [records.line("accuracy", 0.75, direction="test", ci_low=0.2, ci_high=1.0), beside],
        table,
        mteb={"query_metric": "recall_at_1"},
    )
    assert not prove_record(path).problems
    path = records.write(tmp_path / "main", [beside], table, mteb={"query_metric": "recall_at_1"})
    [problem] = prove_record(path).problems
    assert "recall_at_1 of en test, dim 8 has no interval" in problem


def test_rankings_that_do_not_make_the_recorded_ranks_are_found(copy: Path) -> None:
    table = pq.read_table(copy / BEST)
    scores = table["score"].to_numpy().copy()
    scores[0], scores[1] = scores[0] + 1, scores[1] + 1
    column = table.schema.get_field_index("score")
    pq.write_table(table.set_column(column, table.field("score"), pa.array(scores)), copy / BEST)
    rehash(copy)
    [problem] = prove_record(copy).problems
    assert "do not make the score and rank that queries.parquet has; so of 1 of" in problem
