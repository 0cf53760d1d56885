"""Indexes on a card: proven by the record's hits before a figure is used, left out or refused without one.

No card is needed: faiss's API for a GPU is played by an object that lets the real faiss do the work.
"""

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evals.analysis import index_cards, index_engines
from evals.analysis.index_cards import has_card
from evals.analysis.index_engines import build, parts_of
from evals.analysis.index_points import Quality
from evals.analysis.index_quality import measure
from evals.config.indexes import IndexRow, chosen_indexes, read_indexes
from evals.records.record import read_run
from evals.schema import ConfigError, InvalidError, MissingError
from evals.views import index_table
from tests.commands import run

faiss = pytest.importorskip("faiss", reason="faiss is not installed: the extra `index` has it")
ON_CARD = [row for row in read_indexes().values() if row.device == "cuda"]
LIKE_THEM = {
    "gpu-exact": IndexRow(name="a", library="faiss", build="Flat", about="toy"),
    "gpu-ivf": read_indexes()["ivf"],
}


class OnCard:
    """An index that was moved; `shift` is how far from the right places it finds documents."""

    def __init__(self, index: Any, shift: int) -> None:
        self.index, self.shift = index, shift

    def train(self, rows: np.ndarray) -> None:
        self.index.train(rows)

    def add(self, rows: np.ndarray) -> None:
        self.index.add(rows)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, places = self.index.search(queries, k)
        return scores, (places + self.shift) % self.index.ntotal


class FaissWithCard:
    """faiss, with the five names of its GPU builds that are used, and what their cloner refuses."""

    def __init__(self, shift: int = 0, cards: int = 1) -> None:
        self.shift, self.cards, self.moved = shift, cards, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(faiss, name)

    class StandardGpuResources:
        pass

    class GpuParameterSpace:
        def set_index_parameter(self, index: OnCard, name: str, value: int) -> None:
            faiss.ParameterSpace().set_index_parameter(index.index, name, value)

    def get_num_gpus(self) -> int:
        return self.cards

    def index_cpu_to_gpu(self, resources: Any, device: int, index: Any) -> OnCard:
        assert isinstance(resources, self.StandardGpuResources) and device == 0
        inner = faiss.downcast_index(index)
        if not isinstance(inner, faiss.IndexFlat | faiss.IndexIVF):
            raise RuntimeError(
                "Error in clone_Index\nError: This index type is not implemented on GPU."
            )
        if isinstance(inner, faiss.IndexIVFPQ):
            assert inner.pq.M in index_cards.CARD_PARTS and inner.pq.nbits == 8
        self.moved += 1
        return OnCard(index, self.shift)

    def index_gpu_to_cpu(self, index: OnCard) -> Any:
        return index.index

    def downcast_index(self, index: Any) -> Any:
        return faiss.downcast_index(index.index if isinstance(index, OnCard) else index)


def with_card(monkeypatch: pytest.MonkeyPatch, api: FaissWithCard) -> FaissWithCard:
    monkeypatch.setattr(index_engines, "import_faiss", lambda threads: api)
    monkeypatch.setattr(index_cards, "has_card", lambda: True)
    return api


def measured(scenes_run: Path, rows: list[IndexRow], **more: Any) -> Quality:
    return measure(read_run(scenes_run), rows, [64], direction="i2t", metric="R@1", **more)


def test_a_card_gives_what_the_same_index_gives_in_memory(
    scenes_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = with_card(monkeypatch, FaissWithCard())
    quality = measured(scenes_run, [*ON_CARD, *LIKE_THEM.values()])
    # Four indexes, and before each the exact search that proves the card.
    assert api.moved == 2 * len(ON_CARD) and not quality.left_out
    points = {(point.name, point.value): point for point in quality.points}
    for name, row in LIKE_THEM.items():
        for value in row.values:
            on_card, here = points[name, value], points[row.name, value]
            assert (on_card.recall, on_card.neighbours) == (here.recall, here.neighbours)
            assert on_card.bytes == here.bytes
    for point in quality.points:
        losses = point.lost_to_embedding + point.lost_to_dims + point.lost_to_index
        assert abs(losses - (1 - point.recall)) < 1e-12


@pytest.mark.parametrize("required", [True, False])
def test_a_card_that_finds_other_hits_than_the_record_is_never_a_figure(
    scenes_run: Path, monkeypatch: pytest.MonkeyPatch, required: bool
) -> None:
    with_card(monkeypatch, FaissWithCard(shift=1))
    for row in ON_CARD:
        with pytest.raises(
            InvalidError, match=rf"{row.name}: exact search on cuda finds other hits"
        ):
            measured(scenes_run, [row], required=required)


def test_without_a_card_the_default_table_says_what_it_leaves_out_and_why(
    scenes_run: Path, tmp_path: Path
) -> None:
    base = (scenes_run, "--dims", "64", "--json")
    answer = json.loads(run(*base, cwd=tmp_path, module="evals.index").stdout)
    assert list(answer["left_out"]) == [f"{row.name}@64" for row in ON_CARD]
    assert {point["name"] for point in answer["points"]}.isdisjoint(row.name for row in ON_CARD)
    named = run(*base, "--only", "exact,gpu-exact", cwd=tmp_path, module="evals.index")
    assert named.returncode == json.loads(named.stdout)["exit_code"] == 5
    assert "conda install" in named.stderr


def test_what_a_card_refuses_is_left_out_by_width(
    scenes_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_card(monkeypatch, FaissWithCard())
    graph = IndexRow(name="graph", library="faiss", build="HNSW8", device="cuda", about="toy")
    exact = LIKE_THEM["gpu-exact"]
    quality = measured(scenes_run, [exact, graph], required=False)
    assert [point.name for point in quality.points] == ["a"]
    assert "not implemented on GPU" in quality.left_out["graph@64"]
    (line,) = index_table.left_out(quality)
    assert line.startswith("Left out: graph. graph: faiss refuses HNSW8")
    with pytest.raises(ConfigError, match="not implemented on GPU"):
        measured(scenes_run, [exact, graph])


def test_a_name_has_its_width_where_another_width_was_measured(
    scenes_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = measured(scenes_run, [LIKE_THEM["gpu-exact"]])
    partly = quality._replace(left_out={"a@32": "too few", "b@64": "too few", "b@32": "too few"})
    assert index_table.left_out(partly) == ["Left out: a@32, b. too few"]
    assert "Left out: a@32, b. too few" in index_table.as_markdown(partly).replace("\\", "")
    assert "Left out: a@32, b. too few" in index_table.as_html(partly)


def test_faiss_for_a_gpu_without_a_card_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.eye(8, dtype=np.float32)
    with pytest.raises(MissingError, match="the one that is installed has none"):
        build(ON_CARD[0], rows, threads=1)
    with_card(monkeypatch, FaissWithCard(cards=0))
    with pytest.raises(MissingError, match="there is none"):
        build(ON_CARD[0], rows, threads=1)


def test_the_driver_is_asked_before_faiss_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss ends the process where there is no driver: it must not be the first to ask."""

    for answer, there in ((0, True), (100, False)):  # 100: CUDA_ERROR_NO_DEVICE
        driver = SimpleNamespace(cuInit=lambda flags, answer=answer: answer)
        monkeypatch.setattr(ctypes, "CDLL", lambda name, driver=driver: driver)
        assert has_card() == there

    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert not has_card()
    api = FaissWithCard()
    monkeypatch.setattr(index_engines, "import_faiss", lambda threads: api)
    monkeypatch.setattr(api, "get_num_gpus", lambda: pytest.fail("faiss was asked"))
    with pytest.raises(MissingError, match="there is none"):
        build(ON_CARD[0], np.eye(8, dtype=np.float32), threads=1)


def test_a_quantiser_of_a_card_has_parts_that_its_kernels_know() -> None:
    parts = [parts_of(dim, index_cards.CARD_PARTS) for dim in (8, 64, 256, 768, 1024)]
    assert parts == [2, 16, 32, 48, 32]


def test_only_faiss_has_rows_of_a_card(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("x: {library: usearch, build: i8, device: cuda, about: toy}\n")
    with pytest.raises(ConfigError, match="usearch has no index on a card"):
        chosen_indexes(file, None)
