"""What an index loses adds up, exact search is the record's, and each library finds what numpy finds."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.analysis.index_engines import as_bits, build, parts_of
from evals.analysis.index_points import Point, smallest, with_front
from evals.analysis.index_quality import measure
from evals.config.indexes import IndexRow, chosen_indexes, read_indexes
from evals.records.record import read_run
from evals.schema import ConfigError, InvalidError, MissingError
from evals.stats.bootstrap import Interval
from evals.views import index_table
from tests import records
from tests.commands import run

pytest.importorskip("faiss", reason="faiss is not installed: the extra `index` has it")
pytest.importorskip("usearch", reason="usearch is not installed: the extra `index` has it")
QUICK = "exact,int8,binary,hnsw,ivf"


def row(library: str = "faiss", **fields: Any) -> IndexRow:
    return IndexRow(**({"name": "x", "library": library, "about": "toy"} | fields))


def unit_rows(n: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def nearest_by_numpy(queries: np.ndarray, docs: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries.astype(np.float64) @ docs.T), axis=1, kind="stable")[:, :k]


def point_of(
    name: str,
    size: int,
    lost: float,
    interval: tuple[float, float] | None,
    lost_to_dims: float = 0.0,
) -> Point:
    """A point whose exact search at full width finds 90%; `size` is in bytes per document."""
    return Point(
        name=name,
        dim=8,
        parameter=None,
        value=None,
        recall=0.9 - lost_to_dims - lost,
        neighbours=1.0,
        lost_to_embedding=0.1,
        lost_to_dims=lost_to_dims,
        lost_to_index=lost,
        loss_interval=Interval(*interval) if interval else None,
        bytes=size,
        bytes_per_doc=float(size),
        build_seconds=0.0,
        queries_per_second=1.0,
    )


@pytest.fixture(scope="module")
def quality(scenes_run: Path):
    rows = [row for row in chosen_indexes(None, None) if row.device == "cpu"]
    return measure(read_run(scenes_run), rows, direction="i2t", metric="R@1")


def test_losses_add_up_to_the_total(quality) -> None:
    for point in quality.points:
        losses = point.lost_to_embedding + point.lost_to_dims + point.lost_to_index
        assert abs(losses - (1 - point.recall)) < 1e-12
    assert {point.dim for point in quality.points} == {256, 64}
    here = [row for row in read_indexes().values() if row.device == "cpu"]
    assert len(quality.points) == 2 * sum(len(row.values) for row in here)


def test_exact_search_is_the_records(quality) -> None:
    assert quality.unlike == 0
    for point in quality.points:
        if point.name == "exact":
            line = next(
                line
                for line in quality.run.metrics
                if (line.subset, line.direction, line.dim, line.name)
                == ("en", "i2t", point.dim, "R@1")
            )
            assert point.recall == pytest.approx(line.value, abs=1e-12)
            assert point.lost_to_index == pytest.approx(0, abs=1e-12) and point.neighbours == 1
        if point.dim == 256:
            assert point.lost_to_dims == 0


def test_more_search_finds_more_neighbours(quality) -> None:
    for name in ("ivf", "ivf-pq", "binary"):
        found = [p.neighbours for p in quality.points if (p.name, p.dim) == (name, 64)]
        assert found == sorted(found) and found[0] < found[-1]


def test_fewer_bits_are_fewer_bytes(quality) -> None:
    size = {(p.name, p.dim, p.value): p.bytes for p in quality.points}
    docs = quality.docs
    assert size["binary", 256, 0] == docs * 32
    assert size["binary", 256, 20] == docs * (32 + 1024)
    assert size["exact", 256, None] == pytest.approx(docs * 1024, rel=0.01)
    assert size["int8", 64, None] < size["exact", 64, None] / 3


def test_an_interval_of_the_loss_holds_the_loss(quality) -> None:
    for point in quality.points:
        assert point.loss_interval is not None
        low, high = point.loss_interval
        assert low - 1e-9 <= point.lost_to_index <= high + 1e-9


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (row(build="Flat"), None),
        (row(build="HNSW32,Flat", search={"efSearch": [500]}), 500),
        (row(build="IVF{lists},Flat", search={"nprobe": [100]}), 100),
        (row("usearch", build="f32", search={"expansion": [500]}), 500),
        (row("binary", search={"rescore": [500]}), 500),
    ],
)
def test_an_index_that_looks_at_everything_finds_what_numpy_finds(index: Any, value: Any) -> None:
    docs, queries = unit_rows(300), unit_rows(40, seed=1)
    engine = build(index, docs, threads=1)
    assert (engine.search(queries, 5, value) == nearest_by_numpy(queries, docs, 5)).all()
    assert engine.nbytes(value) > 0


def test_bits_are_ranked_by_hamming_distance() -> None:
    docs, queries = unit_rows(100, dim=20), unit_rows(10, dim=20, seed=1)
    places = build(row("binary"), docs, threads=1).search(queries, 3, None)
    distance = ((queries[:, None] > 0) != (docs[None] > 0)).sum(axis=2)
    best = np.sort(distance, axis=1)[:, :3]
    assert (np.take_along_axis(distance, places, axis=1) == best).all()


def test_usearchs_bits_are_those_of_the_precision_binary() -> None:
    docs = unit_rows(50, dim=64)
    engine = build(row("usearch", build="b1", search={"expansion": [64]}), docs, threads=1)
    assert (engine.search(docs, 1, 64)[:, 0] == np.arange(50)).all()
    assert as_bits(docs).shape == (50, 8)


def test_a_quantiser_has_parts_that_divide_the_width() -> None:
    assert [parts_of(dim) for dim in (1, 4, 10, 14, 64, 1024)] == [1, 1, 2, 2, 16, 256]
    # few documents have few centroids
    places = build(row(build="PQ{parts}x{bits}np"), unit_rows(30), threads=1).search(
        unit_rows(2), 3, None
    )
    assert places.shape == (2, 3)


def test_too_few_documents_to_learn_from_are_told_with_what_to_leave_out() -> None:
    rows = unit_rows(3)
    with pytest.raises(ConfigError, match=r"pq: faiss refuses PQ.* for 3 documents.*Leave pq out"):
        build(read_indexes()["pq"], rows, threads=1)


def test_the_front_has_what_nothing_beats_in_all() -> None:
    def point(recall: float, speed: float, size: int) -> Point:
        return Point("x", 8, None, None, recall, 1, 0, 0, 0, None, size, 1, 0, speed)

    points = [point(0.9, 10, 100), point(0.8, 20, 100), point(0.8, 10, 100), point(0.5, 5, 50)]
    assert [p.front for p in with_front(points)] == [True, True, False, True]


def test_the_smallest_index_that_keeps_enough_by_its_worst_end_is_named(quality) -> None:
    # Exact search finds 90% at full width and 89.5% at half: 99% of 90% is 89.1%.
    full = point_of("exact", 1024, 0.0, (0.0, 0.0))
    likely = point_of("likely", 100, 0.003, (-0.002, 0.006), lost_to_dims=0.005)  # at worst 88.9%
    shown = point_of("shown", 200, 0.003, (0.001, 0.0039), lost_to_dims=0.005)  # at worst 89.11%
    untested = point_of("untested", 50, 0.0, None)
    points = [full, likely, shown, untested]
    assert smallest(quality._replace(points=points), 0.99) == shown
    assert smallest(quality._replace(points=[likely, untested]), 0.99) is None
    faster = shown._replace(queries_per_second=2.0)
    assert smallest(quality._replace(points=[shown, faster]), 0.99) == faster


def test_terminal_page_markdown_and_json_begin_with_the_verdict(quality) -> None:
    shown = point_of("pq", 200, 0.003, (0.001, 0.0039), lost_to_dims=0.005)
    quality = quality._replace(points=[shown])
    sentence = (
        "Exact search over all 256 dimensions finds 90.00% (R@1). The smallest index that keeps 99% "
        "of that is pq@8: it finds 89.20% in 200 bytes per document. Its loss against exact search at "
        "8 dimensions is +0.30 [+0.10,+0.39] points."
    )
    assert index_table.verdict(quality) == index_table.as_json(quality)["sentence"] == sentence
    before_table = index_table.as_markdown(quality).partition("|")[0].replace("\\", "")
    assert sentence in before_table
    before_figure = index_table.as_html(quality).partition("<img")[0]
    assert f'<p class="answer">{sentence}</p>' in before_figure
    none = index_table.verdict(quality._replace(points=[shown._replace(loss_interval=None)]))
    assert none.endswith("No index measured here is shown to keep 99% of that.")


def test_the_command_prints_writes_and_gives_json(scenes_run: Path, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"out.{kind}" for kind in ("html", "plot", "markdown", "csv")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", path)]
    base = (scenes_run, "--dims", "64", "--only", QUICK)
    done = run(*base, *options, cwd=tmp_path, module="evals.index")
    assert done.returncode == 0, done.stderr
    assert "hnsw@64 efSearch 16" in done.stdout and "The embedding loses" in done.stdout
    assert "<script" not in files["html"].read_text()
    assert files["plot"].read_bytes().startswith(b"\x89PNG")
    assert "| exact@64 |" in files["markdown"].read_text()
    lines = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert len(lines) == 1 + 1 + 3 + 3 + 3
    answer = json.loads(run(*base, "--json", cwd=tmp_path, module="evals.index").stdout)
    assert answer["metric"] == "R@10" and answer["direction"] == "t2i"
    assert answer["unlike_record"] == 0


def test_text_retrieval_has_indexes_too(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "qrels").mkdir(parents=True)
    colours = ["red", "blue", "green", "yellow"]
    texts = [f"a {a} circle and a {b} square" for a in colours for b in colours]
    docs = [{"_id": f"d{i}", "text": text} for i, text in enumerate(texts)]
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts[:8])]
    for name, items in (("corpus", docs), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(8))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    assert run("beir:mine", "--model", "tiny", cwd=tmp_path).returncode == 0
    path = next(tmp_path.glob("results/runs/*/*/*"))
    done = run(path, "--only", QUICK, "--json", cwd=tmp_path, module="evals.index")
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and answer["metric"] == "Success@10"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--metric", "MRR"), "--metric MRR"),
        (("--dims", "100"), "was not scored at 100"),
        (("--subset", "fr"), "has no fr"),
        (("--direction", "x"), "has no x"),
        (("--only", "hsnw"), "Did you mean hnsw"),
    ],
)
def test_what_is_not_there_is_refused(
    scenes_run: Path, tmp_path: Path, options: Any, word: str
) -> None:
    done = run(scenes_run, *options, cwd=tmp_path, module="evals.index")
    assert done.returncode == 2 and word in done.stderr


@pytest.mark.parametrize("module", ["evals.index", "evals.mistakes"])
def test_a_run_file_has_no_embeddings_and_no_program_that_held_them(
    tmp_path: Path, module: str
) -> None:
    (tmp_path / "a.qrels").write_text("q1 0 d1 1\nq2 0 d2 1\n")
    (tmp_path / "a.run").write_text("q1 Q0 d1 1 0.9 a\nq2 Q0 d1 1 0.9 a\n")
    assert run("a.run", "a.qrels", cwd=tmp_path, module="evals.score").returncode == 0
    path = next(tmp_path.glob("results/runs/*/*/*"))
    done = run(path, cwd=tmp_path, module=module)
    assert done.returncode == 2 and "was made of a run file" in done.stderr


def test_a_cut_off_that_takes_in_the_whole_gallery_measures_no_index(tmp_path: Path) -> None:
    few = ("scenes", "--model", "tiny", "--limit", "4", "--subsets", "en")
    assert run(*few, cwd=tmp_path).returncode == 0
    path = next(tmp_path.glob("results/runs/*/*/*"))
    done = run(path, "--only", "exact", cwd=tmp_path, module="evals.index")
    assert done.returncode == 2 and "R@10 loses nothing to any index" in done.stderr
    smaller = (path, "--only", "exact", "--metric", "R@1", "--json")
    assert run(*smaller, cwd=tmp_path, module="evals.index").returncode == 0


def test_rows_that_are_not_the_records_are_refused(scenes_run: Path, tmp_path: Path) -> None:
    """A store whose images are laid under each other's hashes, with all checksums made anew."""
    from safetensors.numpy import load_file

    from evals.embeddings.shards import read_sidecar, write_shard

    store = tmp_path / "store"
    shutil.copytree(scenes_run.parents[3] / "store", store)
    for key in store.iterdir():
        for sidecar in [path for path in key.glob("*.json") if path.name != "key.json"]:
            items = list(read_sidecar(key, sidecar.stem).items)
            shard = key / f"{sidecar.stem}.safetensors"
            (rows,) = (t for t in load_file(shard).values() if t.ndim == 2)
            rows = rows.copy()
            sidecar.unlink()
            shard.unlink()
            write_shard(key, items, rows[::-1].copy())
    with pytest.raises(InvalidError, match="other hits than recorded"):
        measure(read_run(scenes_run), chosen_indexes(None, ["exact"]), store=store)


def test_records_without_hits_and_without_rows_are_refused(
    scenes_run: Path, tmp_path: Path
) -> None:
    path = records.write(tmp_path, [records.line("acc@1")], records.queries(1), model="m")
    with pytest.raises(ConfigError, match=r"none of its metrics is R@k"):
        measure(read_run(path), chosen_indexes(None, ["exact"]))
    with pytest.raises(MissingError, match="not stored"):
        measure(read_run(scenes_run), chosen_indexes(None, ["exact"]), store=tmp_path)


def test_a_table_of_ones_own_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("flat: {library: faiss, build: Flat, about: all}\n")
    assert [row.name for row in chosen_indexes(file, None)] == ["flat"]
    file.write_text("flat: {library: faiss, build: Flat, search: {a: [1], b: [2]}, about: all}\n")
    with pytest.raises(ConfigError, match="has 2 parameters"):
        chosen_indexes(file, None)
    with pytest.raises(ConfigError, match="faiss refuses Nonsense"):
        build(row(build="Nonsense"), unit_rows(10), threads=1)
