"""A benchmark whose rows do not fit in memory has the record that it would have if they did."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals.config.catalog import Benchmark
from evals.data.items import text_items
from evals.embeddings.precision import quantise
from evals.embeddings.rows import HeldRows
from evals.embeddings.store import Store
from evals.embeddings.truncation import truncate
from evals.evaluation.distractors import Distractors
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.outcome import Outcome
from evals.evaluation.recording import Costs
from evals.evaluation.side_rows import SideRows, usual_memory
from evals.ranking.search import top_k
from evals.ranking.stored_search import stored_top_k
from evals.schema import ConfigError, Items, Side, TextRetrieval
from evals.settings import Settings
from tests.commands import run
from tests.ranking import random_rows
from tests.toys import HashEncoder, MultiHashEncoder, image_text, text_side

ROW = Benchmark(
    name="toys", title="Toys", data="toys", subsets=("en", "de"), split="test", task="image_text",
    images=30, texts=60,
)  # fmt: skip
PRECISIONS = ("float32", "float16", "int8", "binary", "binary+rescore10")
FILES = ("metrics.jsonl", "queries.parquet", "best.parquet", "distractors.parquet")


def measured(tmp_path: Path, memory: int | None, **choices) -> Outcome:
    data = image_text(np.repeat(np.arange(30), 2).tolist())
    settings = Settings(
        results=tmp_path / "runs", store=tmp_path / "store", **choices.pop("settings", {})
    )
    parts = Parts({"en": data, "de": data}, None)
    encoder = HashEncoder(16)
    # shards of a few rows, so that blocks run over several of them
    for side in data.sides:
        Store(settings.store, shard_rows=7).encode(encoder, side)
    return evaluate(ROW, parts, encoder, (16, 5), settings, memory=memory, **choices)


def test_a_record_from_the_store_is_that_from_memory_to_the_byte(tmp_path: Path) -> None:
    held = measured(tmp_path, 2**30, precisions=PRECISIONS)
    stored = measured(tmp_path, 0, precisions=PRECISIONS)
    for name in FILES[:2]:
        assert (held.path / name).read_bytes() == (stored.path / name).read_bytes(), name
    manifests = [
        json.loads((outcome.path / "manifest.json").read_text()) for outcome in (held, stored)
    ]
    assert manifests[0]["config"] == manifests[1]["config"]
    assert manifests[0]["zero_rows"] == manifests[1]["zero_rows"] == 0


def test_rankings_and_curves_from_the_store_are_those_from_memory(tmp_path: Path) -> None:
    images = image_text(list(range(90))).images.select(range(40, 90))
    choices = {"distractors": Distractors("images:toys", (images,))}
    held = measured(tmp_path, 2**30, settings={"keep_top": 7}, **choices)
    stored = measured(tmp_path, 0, settings={"keep_top": 7}, **choices)
    for name in (*FILES, "distractors.jsonl"):
        assert (held.path / name).read_bytes() == (stored.path / name).read_bytes(), name


@pytest.mark.parametrize("memory", [1, 2**24, 2**32])
@pytest.mark.parametrize(("n_docs", "kind"), [(5, "float32"), (4500, "float32"), (4500, "binary")])
def test_hits_of_rows_on_disk_are_those_in_memory_to_the_last_bit(
    n_docs: int, kind: str, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the gallery is read in several blocks
    monkeypatch.setattr("evals.ranking.stored_search.LARGEST_BLOCK", 2048)
    # binary rows of six values: nearly all scores are equal, and blocks merge by place
    dim = 24 if kind == "float32" else 6
    queries, docs = random_rows(700, dim, 0), random_rows(n_docs, dim, 1)
    expected = list(top_k(*(quantise(truncate(rows, dim), kind) for rows in (queries, docs)), 6))
    sources = HeldRows(queries), HeldRows(docs)
    hits = stored_top_k(*sources, 6, [dim], [kind], memory=memory)[dim, kind]
    assert np.concatenate([part.docs for part in expected]).tolist() == hits.docs.tolist()
    assert np.concatenate([part.scores for part in expected]).tolist() == hits.scores.tolist()


class UnevenEncoder(HashEncoder):
    """Blank texts have rows of zeros, and rows differ in length."""

    def encode(self, side: Side) -> np.ndarray:
        lengths = [0 if "blank" in text else 1 + len(text) % 3 for text in side.items]
        rows: np.ndarray = super().encode(side) * np.array(lengths, np.float32)[:, None]
        return rows


def judged() -> TextRetrieval:
    """12 queries, 40 documents: some of them the same, some blank, and one to twelve judgements."""
    docs = [f"document {place % 30}" for place in range(36)] + ["blank"] * 4
    queries = [f"query {place % 9}" for place in range(11)] + ["blank query"]
    rng = np.random.default_rng(0)
    qrels: list[tuple[int, int, int]] = []
    for query in range(12):
        judged_docs = sorted(rng.choice(40, 1 + query, replace=False))
        qrels += [(query, doc, 1 + doc % 3) for doc in judged_docs]
    return TextRetrieval(
        text_items(queries, [f"q{place}" for place in range(12)]),
        text_items(docs, [f"d{place}" for place in range(40)]),
        np.array(qrels),
        {"layout": "toy"},
    )


def test_graded_judgements_from_the_store_have_the_record_of_memory_to_the_byte(
    tmp_path: Path,
) -> None:
    row = Benchmark(
        name="judged", title="Judged", data="toys", subsets=("en",), split="test",
        task="retrieval", size={"queries": 12, "documents": 40},
    )  # fmt: skip
    settings = Settings(
        results=tmp_path / "runs", store=tmp_path / "store", keep_top=7, measures=("P@3",)
    )
    parts, encoder = Parts({"en": judged()}, None), UnevenEncoder(16)
    for side in judged().sides:
        Store(settings.store, shard_rows=7).encode(encoder, side)
    held, stored = (
        evaluate(row, parts, encoder, (16, 5), settings, memory=memory, precisions=PRECISIONS[:-1])
        for memory in (2**30, 0)
    )
    assert held.path != stored.path
    for name in FILES[:3]:
        assert (held.path / name).read_bytes() == (stored.path / name).read_bytes(), name
    manifests = [
        json.loads((outcome.path / "manifest.json").read_text()) for outcome in (held, stored)
    ]
    assert manifests[0]["config"] == manifests[1]["config"]
    assert manifests[0]["zero_rows"] == manifests[1]["zero_rows"] == 5


def test_items_of_text_and_image_are_held_or_refused_where_memory_is_limited(
    tmp_path: Path,
) -> None:
    texts, images = text_side(["a", "b"]), image_text([0, 1]).images
    both = Items(["x", "y"], texts, images, np.arange(2), np.arange(2))
    queries = text_items(["q"], ["q"])
    data = TextRetrieval(queries, both, np.array([[0, 1, 1]]), {"layout": "toy"})
    row = Benchmark(
        name="mixed", title="Mixed", data="toys", subsets=("en",), split="test",
        task="retrieval", size={"queries": 1, "documents": 2},
    )  # fmt: skip
    settings = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    choices = (row, Parts({"en": data}, None), HashEncoder(16), (16,), settings)
    with pytest.raises(ConfigError, match=r"mixed en: .*the sum of two rows.*Leave --memory out"):
        evaluate(*choices, memory=1)
    assert evaluate(*choices, memory=2**20).path.is_dir()
    # where nobody set a limit, it is none for what has to be held
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evals.evaluation.evaluate.usual_memory", lambda: 1)
        assert evaluate(*choices).path.is_dir()


def test_images_that_are_queries_and_documents_have_the_rows_of_each_role(tmp_path: Path) -> None:
    """As when each image looks for its like among all: both sides list the same images."""
    images = image_text(list(range(6))).images
    queries, docs = replace(images, role="query"), replace(images, role="document")
    encoder = MultiHashEncoder()
    rows = SideRows(encoder, Store(tmp_path), Costs())
    for side, vectors in zip((queries, docs), rows.vectors([queries, docs]), strict=True):
        np.testing.assert_array_equal(
            vectors.take(np.arange(6)).rows, encoder.encode(side).rows, strict=True
        )


def test_keeping_all_rows_and_a_limit_of_memory_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--keep-embeddings holds all rows in memory"):
        measured(tmp_path, 1, settings={"keep_embeddings": True})


def test_the_usual_memory_is_half_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("evals.evaluation.side_rows.CGROUP", limit)
    alone = usual_memory()
    limit.write_text("max\n")
    assert usual_memory() == alone
    limit.write_text("1000000\n")
    assert usual_memory() == 500_000


def test_both_commands_take_a_limit_of_memory(checkpoint: Path, tmp_path: Path) -> None:
    options = ("--model", checkpoint, "--subsets", "en", "--limit", 5)
    done = run("scenes", *options, "--memory", 0, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "scenes en: scored from the store in 0 GB" in done.stderr
    swept = run(
        *("--benchmarks", "scenes", *options, "--memory", 0, "--no-figures"),
        cwd=tmp_path,
        module="evals.mrl_sweep",
    )
    assert swept.returncode == 0, swept.stderr
    assert "scored from the store" in swept.stderr


# The rows take 200 MB, and the process may have so much less on top of what it has loaded.
SCORE = """
import sys
import numpy as np
from benchmarks.harness import peak_memory
from evals.embeddings.rows import Block
from evals.ranking.relevance import Relevant
from evals.ranking.stored import stored_ranks

class Made:
    shape = 100_000, 512
    def blocks(self, size=4096):
        for first in range(0, self.shape[0], size):
            yield Block(first, self.take(np.arange(first, min(first + size, self.shape[0]))))
    def take(self, positions):
        rng = np.random.default_rng(0)
        basis = rng.standard_normal(512, dtype=np.float32)
        return np.outer(np.sin(positions + 1), basis).astype(np.float32)

class Few(Made):
    shape = 50, 512

def rank(docs):
    memory = int(sys.argv[1])
    stored_ranks(Few(), docs, relevant, (512, 256), ("float32", "int8"), memory=memory)
relevant = Relevant.single(np.arange(50))
small = Made(); small.shape = 1_000, 512
rank(small)
print(peak_memory(lambda: rank(Made())))
"""


def test_a_gallery_of_200_megabytes_is_ranked_in_a_fraction_of_them() -> None:
    # not by ru_maxrss: a process begins with that of the one that started it, which may be larger
    command = [sys.executable, "-c", SCORE, str(64 * 2**20)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # NaN where the host does not tell
    assert not float(done.stdout) > 130
