"""Pieces of work that write, each with how to do it again and how to tell that its result is whole."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors.numpy import load

from evals.cli.app import Log
from evals.dashboard.history import read_history
from evals.dashboard.site import MARK, Verdicts, build
from evals.data.manifest import MANIFEST, UNFINISHED, check_folder
from evals.embeddings.store import Store
from evals.files import write_atomically
from evals.records.record import list_runs, read_queries, read_run
from evals.regress import baselines, moves
from tests import records
from tests.faults import leftovers
from tests.regress_records import record, scores
from tests.test_data_prepare import jsonl, pack, put, row, source
from tests.toys import HashEncoder, text_side


class Work(Protocol):
    """Something that is written below a folder."""

    def before(self, root: Path) -> None:
        """What is there when the work begins."""

    def act(self, root: Path) -> None:
        """The work. It may be done again after it failed or was killed."""

    def whole(self, root: Path) -> None:
        """AssertionError unless all that is committed can be trusted, wherever the work stopped."""

    def done(self, root: Path) -> None:
        """AssertionError unless the state is that of undisturbed work, with nothing left over."""


class File:
    """A file that is replaced."""

    OLD, NEW = b"old" * 1000, b"newer" * 2000

    def before(self, root: Path) -> None:
        write_atomically(root / "file", self.OLD)

    def act(self, root: Path) -> None:
        write_atomically(root / "file", self.NEW)

    def whole(self, root: Path) -> None:
        assert (root / "file").read_bytes() in (self.OLD, self.NEW)

    def done(self, root: Path) -> None:
        assert [path.name for path in root.iterdir()] == ["file"]
        assert (root / "file").read_bytes() == self.NEW


class Record:
    """A record beside one that is there."""

    def before(self, root: Path) -> None:
        records.write(root, [records.line(value=0.25)], records.queries(4))

    def act(self, root: Path) -> None:
        records.write(root, [records.line(value=0.75)], records.queries(50))

    def whole(self, root: Path) -> None:
        self._written(root)

    def done(self, root: Path) -> None:
        assert set(self._written(root)) == {(0.25, 4), (0.75, 50)}
        assert not leftovers(root)

    def _written(self, root: Path) -> list[tuple[float, int]]:
        """The value and the number of queries of each record, of which the first is there always."""
        runs = [read_run(path) for path in list_runs(root)]
        written = [(run.metrics[0].value, read_queries(run).num_rows) for run in runs]
        assert {(0.25, 4)} <= set(written) <= {(0.25, 4), (0.75, 50)}
        return written


class Embeddings:
    """Texts in shards, of which some are there."""

    def __init__(self, texts: int = 17, shard_rows: int = 5, dim: int = 16) -> None:
        self.side = text_side([f"text {i}" for i in range(texts)])
        self.shard_rows, self.dim = shard_rows, dim
        self.rows = HashEncoder(dim).encode(self.side)

    def before(self, root: Path) -> None:
        self._embed(root, 7)

    def act(self, root: Path) -> None:
        rows = self._embed(root, len(self.side)).rows
        np.testing.assert_array_equal(rows, self.rows)

    def whole(self, root: Path) -> None:
        for sidecar in shards(root):
            data = sidecar.with_suffix(".safetensors").read_bytes()
            described = json.loads(sidecar.read_text())
            assert hashlib.sha256(data).hexdigest() == described["sha256"]
            assert load(data)["rows"].shape == (len(described["items"]), self.dim)
            assert set(described["items"]) <= set(self.side.hashes)

    def done(self, root: Path) -> None:
        self.whole(root)
        result = self._embed(root, len(self.side))
        assert result.encoded == 0
        np.testing.assert_array_equal(result.rows, self.rows)
        assert not leftovers(root) and not list(root.rglob("damaged"))

    def committed(self, root: Path) -> int:
        """How many rows need not be encoded again."""
        return sum(len(json.loads(path.read_text())["items"]) for path in shards(root))

    def _embed(self, root: Path, n: int):
        side = self.side.select(range(n))
        return Store(root, shard_rows=self.shard_rows).embed(HashEncoder(self.dim), side)


class Baseline:
    """A baseline of two records that moves to two others."""

    def before(self, root: Path) -> None:
        for name, queries in (("old", 20), ("new", 30)):
            for model in ("a", "b"):
                record(root / name, {"en": [scores([0] * queries)]}, model=model)
        self._set(root, "old")

    def act(self, root: Path) -> None:
        self._set(root, "new")

    def whole(self, root: Path) -> None:
        assert self._state(root) in (self._names(root, "old"), self._names(root, "new"))

    def done(self, root: Path) -> None:
        assert self._state(root) == self._names(root, "new")
        assert not leftovers(root)
        folder = root / "baselines" / "ours"
        places = {path.relative_to(folder).as_posix() for path in folder.glob("*/*/*")}
        assert places == set(baselines.read_index(folder).records)

    def _state(self, root: Path) -> set[str]:
        """The names of the records, with which the history must end."""
        baselines.BASELINES = root / "baselines"
        names = {run.path.name for run in baselines.read_baseline("ours")}
        assert {
            line["new"] for line in baselines.history(root / "baselines" / "ours")[-2:]
        } == names
        return names

    def _set(self, root: Path, name: str) -> None:
        baselines.BASELINES = root / "baselines"
        moves.set_baseline("ours", [read_run(path) for path in list_runs(root / name)], name)

    def _names(self, root: Path, name: str) -> set[str]:
        return {path.name for path in list_runs(root / name)}


class Site:
    """A site of one record that becomes one of two, in a folder where somebody keeps a note."""

    def before(self, root: Path) -> None:
        records.write(root / "runs", [records.line(value=0.25)], records.queries(4), model="old")
        self.act(root)
        (root / "site" / "note").write_text("mine")
        records.write(root / "runs", [records.line(value=0.75)], records.queries(4), model="new")

    def act(self, root: Path) -> None:
        build(read_history(root / "runs"), Verdicts(), root / "site")

    def whole(self, root: Path) -> None:
        """It is there under its name, or aside, from where the next build takes it back."""
        folder, aside = root / "site", root / ".site.old.part"
        self._pages(folder if folder.exists() else aside)

    def done(self, root: Path) -> None:
        assert len(self._pages(root / "site")) == 2
        assert {path.name for path in root.iterdir()} == {"runs", "site"}

    def _pages(self, site: Path) -> list[Path]:
        """The pages of runs. All pages are of the same records, and all files that it lists are there."""
        assert (site / "note").read_text() == "mine"
        for name in (site / MARK).read_text().splitlines():
            assert (site / name).stat().st_size
        pages = list((site / "runs").glob("*.html"))
        count = f"{len(pages)} record{'s' if len(pages) > 1 else ''}, the newest"
        for page in [*site.glob("*.html"), *pages]:
            assert count in page.read_text()
        return pages


class Prepared:
    """A folder of images and captions that is packed."""

    def before(self, root: Path) -> None:
        put(root / "raw" / "images", a=1, b=2)
        jsonl(root / "raw" / "captions.jsonl", {"a.jpg": ["one", "two"], "b.jpg": ["three"]})

    def act(self, root: Path) -> None:
        pack(row(), source(root / "raw"), root)

    def whole(self, root: Path) -> None:
        folder = root / "toy"
        if (folder / MANIFEST).exists() and not (folder / UNFINISHED).exists():
            check_folder(folder, Log().progress)

    def done(self, root: Path) -> None:
        check_folder(root / "toy", Log().progress)
        assert not leftovers(root)


def shards(root: Path) -> list[Path]:
    """The sidecars below a store."""
    return sorted(path for path in root.glob("*/*.json") if path.name != "key.json")


def fresh(work: Work, root: Path) -> Path:
    """The folder as it is before the work, and nothing else in it; made once, then copied from beside it."""
    shutil.rmtree(root, ignore_errors=True)
    made = root.with_name(f"{root.name} before")
    if made.exists():
        shutil.copytree(made, root, symlinks=True)
        return root
    root.mkdir(parents=True)
    work.before(root)
    shutil.copytree(root, made, symlinks=True)
    return root


WORKS: dict[str, Work] = {
    "file": File(),
    "record": Record(),
    "embeddings": Embeddings(),
    "baseline": Baseline(),
    "site": Site(),
    "prepared": Prepared(),
}
