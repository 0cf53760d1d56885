"""A damaged file is refused by name, or does no harm: no number is another, and no error is a bare one."""

import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from evals.cli.app import Log
from evals.data.manifest import check_folder
from evals.embeddings.store import Store
from evals.encoders.jina import JinaEncoder
from evals.records.record import list_runs, read_queries, read_run
from evals.regress import baselines, moves
from evals.regress.gates import read_gates
from evals.schema import EvalError
from tests import records
from tests.conftest import small_model
from tests.faults import SEED, leftovers, rounds
from tests.faults.damage import damage
from tests.faults.works import Embeddings
from tests.regress_records import record, scores
from tests.test_data_prepare import jsonl, pack, put, row, source
from tests.toys import HashEncoder, text_side

ROOT = Path(__file__).parents[2]


class Reading(NamedTuple):
    """What a reader makes of a folder. What it means may change only where `identity` does."""

    identity: Any
    value: Any


class Records:
    """A record, and its queries."""

    def make(self, root: Path) -> None:
        records.write(root, [records.line(), records.line("MRR", 0.7)], records.queries(30))

    def read(self, root: Path) -> Reading:
        (path,) = list_runs(root)
        run = read_run(path)
        return Reading(None, (run.manifest.raw, run.metrics, read_queries(run)))


class Baselines:
    """A baseline of two records, which was moved twice."""

    def make(self, root: Path) -> None:
        baselines.BASELINES = root / "baselines"
        for number in (20, 22):
            paths = [
                record(root / "runs", {"en": [scores([0] * number)]}, model=model)
                for model in ("a", "b")
            ]
            moves.set_baseline("ours", [read_run(path) for path in paths], f"{number} queries")
        shutil.rmtree(root / "runs")

    def read(self, root: Path) -> Reading:
        baselines.BASELINES = root / "baselines"
        runs = baselines.read_baseline("ours")
        read = [(run.manifest.raw, run.metrics, read_queries(run)) for run in runs]
        baselines.history(root / "baselines" / "ours")  # notes that no number comes from
        return Reading(None, read)


class Prepared:
    """A folder of images and captions, as `evals.data prepare` makes it."""

    def make(self, root: Path) -> None:
        put(root / "raw" / "images", a=1, b=2)
        jsonl(root / "raw" / "captions.jsonl", {"a.jpg": ["one", "two"], "b.jpg": ["three"]})
        pack(row(), source(root / "raw"), root)
        shutil.rmtree(root / "raw")

    def read(self, root: Path) -> Reading:
        manifest = check_folder(root / "toy", Log().progress)
        files = {name: (root / "toy" / name).read_bytes() for name in manifest.files}
        return Reading(manifest, files)


class Checkpoint:
    """A small model: what it was loaded from is its fingerprint."""

    def make(self, root: Path) -> None:
        small_model("v2").save_pretrained(root / "model")

    def read(self, root: Path) -> Reading:
        encoder = JinaEncoder(name="m", folder=root / "model", device="cpu")
        rows = encoder.encode(text_side(["a cat sits", "the red dog"]))
        return Reading(dict(encoder.fingerprint), rows.tolist())


class Gates:
    """gates.yaml, whose meaning is whatever it says."""

    def make(self, root: Path) -> None:
        shutil.copy(ROOT / "configs" / "gates.yaml", root)

    def read(self, root: Path) -> Reading:
        gates = read_gates(root / "gates.yaml")
        return Reading(gates, gates)


ARTEFACTS = {
    "record": Records(),
    "baseline": Baselines(),
    "prepared folder": Prepared(),
    "gates": Gates(),
    "checkpoint": Checkpoint(),
}
# The files of each kind, by patterns.
KINDS = [
    ("record", "manifest.json"),
    ("record", "metrics.jsonl"),
    ("record", "queries.parquet"),
    ("baseline", "index.json"),
    ("baseline", "history.jsonl"),
    ("baseline", "manifest.json"),
    ("prepared folder", "manifest.json"),
    ("prepared folder", "captions.jsonl"),
    ("prepared folder", "*.jpg"),
    ("gates", "gates.yaml"),
    ("checkpoint", "model.safetensors"),
    ("checkpoint", "config.json"),
    ("checkpoint", "tokenizer.json"),
    ("checkpoint", "preprocessor_config.json"),
]
STORED = {"rows": "*.safetensors", "sidecar": "????????*.json", "key": "key.json", "any": "*"}


def files(root: Path, pattern: str = "*") -> list[Path]:
    """The files that hold something, which locks and marks do not."""
    paths = [path for path in root.rglob(pattern) if path.is_file() and path.stat().st_size]
    return sorted(path for path in paths if path.parent.name != "damaged")


@pytest.fixture(autouse=True)
def own_baselines(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "BASELINES", tmp_path / "root" / "baselines")


@pytest.mark.parametrize(("name", "pattern"), KINDS)
def test_what_is_damaged_is_refused_by_name_or_means_the_same(
    name, pattern, tmp_path, record_property
):
    artefact, root = ARTEFACTS[name], tmp_path / "root"
    root.mkdir()
    artefact.make(root)
    whole = artefact.read(root)
    refused = 0
    cases = range(SEED, SEED + rounds(10, 300))
    for case in cases:
        rng = random.Random(case)
        path = rng.choice(files(root, pattern))
        kept = path.read_bytes()
        what = f"seed {case}: {damage(path, rng)}"
        try:
            reading = artefact.read(root)
        except EvalError as error:
            refused += 1
            assert str(root) in str(error), f"{what}: {error}"
        except Exception as error:
            raise AssertionError(what) from error
        else:
            if reading.identity == whole.identity:
                assert reading.value == whole.value, what
        path.write_bytes(kept)
    assert artefact.read(root) == whole
    assert refused
    record_property("faults: damaged files", len(cases))


@pytest.mark.parametrize("kind", STORED)
def test_a_damaged_store_gives_the_same_rows_and_mends_itself(kind, tmp_path, record_property):
    work = Embeddings()
    work.before(tmp_path)
    work.act(tmp_path)
    for case in range(SEED, SEED + rounds(10, 300)):
        rng = random.Random(case)
        stored = files(tmp_path, STORED[kind])
        for path in rng.sample(stored, rng.randint(1, min(3, len(stored)))):
            damage(path, rng)
        rows = Store(tmp_path, shard_rows=5).embed(HashEncoder(work.dim), work.side).rows
        np.testing.assert_array_equal(rows, work.rows, err_msg=f"seed {case}")
        work.whole(tmp_path)
        assert not leftovers(tmp_path)
        again = Store(tmp_path).embed(HashEncoder(work.dim), work.side)
        assert again.encoded == 0, f"seed {case}"
    record_property("faults: damaged files", rounds(10, 300))
