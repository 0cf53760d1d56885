"""A record's rows give its numbers again, to the last bit; where they do not, it is told what differs."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.analysis.replay import Difference, Replay, check_replayable, replay
from evals.embeddings.kept import EMBEDDINGS, KeptRows, read_kept
from evals.records.record import read_file, read_run
from evals.records.seal import sha256
from evals.schema import ConfigError, InvalidError, MissingError, NotComparableError, Side
from tests import records
from tests.commands import run


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of a part of Scenes at two widths and precisions that keeps its rows; its store is gone."""
    root = tmp_path_factory.mktemp("kept")
    options = "--model tiny --subsets en,de --limit 40 --dims 256,16 --precisions float32,int8"
    done = run(
        "--benchmarks", "scenes", *options.split(), "--keep-embeddings", "--no-figures",
        cwd=root, module="evals.mrl_sweep",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.rmtree(root / "results" / "store")
    return next(root.glob("results/runs/*/*/*"))


def with_rows(path: Path, change: Any) -> Path:
    """The record with other rows, and the hashes that go with them."""
    root = path.parents[2].parent / "changed"
    shutil.rmtree(root, ignore_errors=True)
    copy = root / path.relative_to(path.parents[2])
    shutil.copytree(path, copy)
    from safetensors.numpy import load, save

    tensors = load((copy / EMBEDDINGS).read_bytes())
    change({name: rows for name, rows in tensors.items() if name.endswith(".rows")})
    data = save(tensors)
    (copy / EMBEDDINGS).write_bytes(data)
    files = json.loads((copy / "manifest.json").read_text())["files"]
    return records.resigned(copy, files=files | {EMBEDDINGS: sha256(data)})


def test_stored_rows_give_the_record_to_the_last_bit(scenes_run: Path) -> None:
    run_of_scenes = read_run(scenes_run)
    result = replay(run_of_scenes)
    assert result.bit_equal and result.cause == "bit-equal"
    assert result.queries == sum(
        line.n_queries for line in run_of_scenes.metrics if line.name == "R@1"
    )
    assert result.numbers == 6 * len(run_of_scenes.metrics)
    assert result.rows_from == str(scenes_run.parents[3] / "store")


def test_rows_that_the_record_keeps_need_no_store(kept: Path) -> None:
    result = replay(read_run(kept))
    assert result.bit_equal and result.rows_from == EMBEDDINGS
    done = run(kept, "--json", cwd=kept, module="evals.replay")
    assert done.returncode == 0 and json.loads(done.stdout)["bit_equal"]


def test_equal_items_are_kept_once(kept: Path) -> None:
    """Two languages share their images."""
    from safetensors.numpy import load

    tensors = load(read_file(read_run(kept), EMBEDDINGS))
    sizes = sorted(len(rows) for name, rows in tensors.items() if name.endswith(".rows"))
    assert sizes[0] == 40 and len(sizes) == 2


def test_the_hash_of_kept_rows_is_in_the_manifest(kept: Path, tmp_path: Path) -> None:
    assert EMBEDDINGS in read_run(kept).manifest.files
    copy = tmp_path / kept.relative_to(kept.parents[2])
    shutil.copytree(kept, copy)
    with (copy / EMBEDDINGS).open("ab") as file:
        file.write(b"1")
    with pytest.raises(InvalidError, match="checksum mismatch"):
        replay(read_run(copy))
    assert run(copy, cwd=copy, module="evals.verify").returncode == 3


def test_other_rows_are_told_as_ranks_that_differ(kept: Path) -> None:
    def reverse(tensors):
        # of the smaller one, the images: each caption finds the image of another
        images = min(tensors.values(), key=len)
        images[:] = images[::-1].copy()

    path = with_rows(kept, reverse)
    result = replay(read_run(path))
    assert not result.bit_equal and result.cause.startswith("ranks differ")
    columns = {difference.what for difference in result.differences}
    assert {"better", "score", "value"} <= columns
    done = run(path, cwd=path, module="evals.replay")
    assert done.returncode == 1 and "DIFFERS" in done.stdout and "ranks differ" in done.stdout


def test_last_bits_of_rows_change_scores_alone(kept: Path) -> None:
    def nudge(tensors):
        for rows in tensors.values():
            rows[:, 0] = np.nextafter(rows[:, 0], np.float32(9), dtype=np.float32)

    result = replay(read_run(with_rows(kept, nudge)))
    assert not result.bit_equal
    assert {difference.what for difference in result.differences} == {"score"}
    assert "only the last bits of scores differ" in result.cause
    largest = max(difference.largest or 0 for difference in result.differences)
    assert 0 < largest < 1e-5


@pytest.mark.parametrize(
    ("differing", "sentence"),
    [
        ({"score": 2e-7}, "only the last bits of scores differ"),
        (
            {"score": 2e-7, "value": 1e-9},
            "last bits of scores differ, and so do numbers made of them",
        ),
        ({"score": 0.004}, "no rank differs, and scores do by up to 0.004, more than rounding"),
        ({"score": float("nan")}, "more than rounding"),
        ({"value": 0.1}, "ranks are equal and numbers made of them are not"),
        ({"tied": 1.0, "score": 2e-7}, "ranks differ"),
        ({"query_id": None}, "nothing can be said of their ranks"),
        ({"queries": None, "better": 3.0}, "nothing can be said of their ranks"),
    ],
)
def test_a_cause_says_no_more_than_the_differences_do(differing: Any, sentence: str) -> None:
    entries = [Difference("en", what, 1, largest, "") for what, largest in differing.items()]
    result = Replay(Path("x"), "store", 1, 1, entries, {}, "cpu")
    assert sentence in result.cause


def test_a_changed_metric_is_told_with_both_numbers(kept: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    lines = list(read_run(kept).metrics)
    lines[0] = replace(lines[0], value=0.5)
    root = tmp_path / "again"
    path = records.rewritten(kept, root, lines=lines)
    shutil.copy2(kept / EMBEDDINGS, path / EMBEDDINGS)
    files = json.loads((path / "manifest.json").read_text())["files"]
    digest = sha256((path / EMBEDDINGS).read_bytes())
    path = records.resigned(path, files=files | {EMBEDDINGS: digest})
    (difference,) = replay(read_run(path)).differences
    assert difference.what == "value" and difference.example.startswith("0.5, now 0.")


def test_what_changed_since_is_named(kept: Path, tmp_path: Path) -> None:
    copy = tmp_path / kept.relative_to(kept.parents[2])
    shutil.copytree(kept, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    path = records.resigned(
        copy,
        packages=manifest["packages"] | {"numpy": "1.0"},
        host=manifest["host"] | {"processor": "Z80"},
    )
    changed = replay(read_run(path)).changed
    assert changed["numpy"] == ("1.0", np.__version__) and changed["processor"][0] == "Z80"
    done = run(path, cwd=path, module="evals.replay")
    assert done.returncode == 0 and "processor Z80, now" in done.stdout


def test_texts_and_pairs_of_ones_own_come_out_again(tmp_path: Path) -> None:
    lines = ["sentence1,sentence2,score"]
    colours = ["red", "blue", "green", "yellow"]
    lines += [f"a {a} circle,a {b} square,{a == b:d}" for a in colours for b in colours]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    folder = tmp_path / "mine"
    (folder / "qrels").mkdir(parents=True)
    docs = [{"_id": f"d{i}", "text": f"a red square {i}"} for i in range(9)]
    queries = [{"_id": f"q{i}", "text": f"red {i}"} for i in range(9)]
    for name, items in (("corpus", docs), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(9))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    done = run(
        "sts:pairs.csv", "beir:mine", "--model", "tiny", "--measures", "nDCG@3",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    paths = sorted(tmp_path.glob("results/runs/*/*/*"))
    assert len(paths) == 2
    for path in paths:
        done = run(path, cwd=tmp_path, module="evals.replay")
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_fusion_comes_out_again(tmp_path: Path) -> None:
    done = run("--limit", "20", "--no-figures", cwd=tmp_path, module="evals.fusion")
    if done.returncode == 2:  # it has no such option: its figures come along
        done = run("--limit", "20", cwd=tmp_path, module="evals.fusion")
    assert done.returncode == 0, done.stderr
    path = next(tmp_path.glob("results/runs/*/*/*"))
    assert run(path, cwd=tmp_path, module="evals.replay").returncode == 0
    assert run(path, cwd=tmp_path, module="evals.verify").returncode == 0


def test_rows_that_are_nowhere_are_missing(kept: Path, scenes_run: Path, tmp_path: Path) -> None:
    done = run(kept, "--store", tmp_path / "none", cwd=tmp_path, module="evals.replay")
    assert done.returncode == 5 and "are not stored" in done.stderr
    with pytest.raises(MissingError, match="not stored"):
        replay(read_run(scenes_run), store=tmp_path)


def test_other_data_is_not_comparable(kept: Path, tmp_path: Path) -> None:
    copy = tmp_path / kept.relative_to(kept.parents[2])
    shutil.copytree(kept, copy)
    data = json.loads((copy / "manifest.json").read_text())["data"]
    data["en"]["content"] = "0" * 64
    with pytest.raises(NotComparableError, match="not what was measured"):
        replay(read_run(records.resigned(copy, data=data)))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mteb": {"query_metric": "x"}}, "a task of mteb"),
        ({"probe": {"kind": "knn"}}, "a probe"),
        ({"encoder": records.encoder("m", run="trec")}, "of a run file"),
        ({}, "no task here scores"),
    ],
)
def test_records_without_rows_are_refused(tmp_path: Path, fields: Any, reason: str) -> None:
    path = records.write(tmp_path, [records.line()], records.queries(1), **fields)
    with pytest.raises(ConfigError, match=reason):
        check_replayable(read_run(path))


def test_a_target_is_a_record_or_a_model_on_a_benchmark(kept: Path, tmp_path: Path) -> None:
    runs = kept.parents[2]
    for arguments in (["tiny"], [kept, "--benchmark", "scenes.partial"]):
        done = run(*arguments, "--results", runs, cwd=tmp_path, module="evals.replay")
        assert done.returncode == 2
    named = ["tiny", "--benchmark", "scenes.partial", "--results", runs]
    assert run(*named, cwd=tmp_path, module="evals.replay").returncode == 0


def test_kept_rows_that_are_broken_are_refused() -> None:
    from safetensors.numpy import save

    rows, hashes = np.zeros((2, 3), np.float32), np.zeros((2, 32), np.uint8)
    for tensors in (
        {"a.rows": rows},
        {"a.other": rows},
        {"a.rows": rows, "a.hashes": hashes[:1]},
        {"a.rows": rows[0], "a.hashes": hashes},
    ):
        with pytest.raises(InvalidError):
            read_kept(save(tensors), "here")
    with pytest.raises(InvalidError, match="no safetensors file"):
        read_kept(b"junk", "here")


def test_a_side_whose_rows_are_not_kept_is_missing() -> None:
    class Toy:
        name, dim, fingerprint = "toy", 3, {"weights": "x"}

        def encode(self, side: Side) -> np.ndarray:
            raise AssertionError

    side = Side("text", ["a", "b"], ["a", "b"], ["0" * 64, "1" * 64])
    kept_rows = KeptRows()
    kept_rows.add(Toy(), side.select([0]), np.ones((1, 3), np.float32))
    again = read_kept(kept_rows.as_bytes(), "here")
    assert again.rows(Toy(), side.select([0])).tolist() == [[1, 1, 1]]
    with pytest.raises(MissingError, match="1 of 2 texts"):
        again.rows(Toy(), side)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("evals.run", ("mteb:SciFact", "--model", "tiny")),
        ("evals.probe", ("fer2013", "--model", "tiny")),
    ],
)
def test_what_has_no_replay_keeps_no_rows(tmp_path: Path, module: str, arguments: Any) -> None:
    done = run(*arguments, "--keep-embeddings", cwd=tmp_path, module=module)
    assert done.returncode == 2 and "--keep-embeddings means nothing" in done.stderr
