"""Run records: written whole or not at all, read back equal, and never read when they are broken."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals import files
from evals.files import write_atomically
from evals.records import record as records
from evals.records.manifest import checksum_of, path_component
from evals.records.parquet import QUERY_COLUMNS
from evals.records.record import (
    MetricLine,
    list_incomplete,
    list_runs,
    read_queries,
    read_run,
    write_run,
)
from evals.records.selection import newest_of_each
from evals.schema import InvalidError

MANIFEST: dict[str, Any] = {
    "benchmark": "flickr30k",
    "model": "jina-clip-v2",
    "command": ["python", "-m", "evals.run"],
    "captions": "café 日本語 \u2028",
    "peak": {"gb": 1.5, "none": None},
}
RECALL = MetricLine("en", "t2i", 64, "fp32", "R", 1, 0.1 + 0.2, 0.25, 0.35, 3, 2, 1 / 3)
MRR = MetricLine("日本\u2028語", "i2t", 1024, "int8", "MRR", None, 1.0, None, None, 2, 3, 0.0)


def queries() -> dict[str, Any]:
    return {
        "subset": ["en", "en", "日本語"],
        "direction": ["t2i", "t2i", "i2t"],
        "dim": np.array([64, 64, 1024]),
        "precision": ["fp32"] * 3,
        "query_id": ["a", "b", "c"],
        "group_id": ["1", "1", "2"],
        "better": np.array([0, 2**40, 1]),
        "tied": np.array([0, 1, 0]),
        "tied_relevant": np.array([1, 1, 5]),
        "score": np.array([0.1, -0.5, 1.0], np.float32),
        "ndcg10": np.array([1.0, 1 / 3, 0.0]),
    }


def write(root: Path, **changes: Any) -> Path:
    return write_run(
        root, **{"manifest": MANIFEST, "metrics": [RECALL, MRR], "queries": queries()} | changes
    )


def rewrite_manifest(path: Path, **changes: Any) -> None:
    """Change a manifest as if it had been written so, checksum and all; None takes a key away."""
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    manifest = {key: value for key, value in manifest.items() if value is not None}
    if "checksum" not in changes:
        manifest["checksum"] = checksum_of(manifest, "test")
    (path / "manifest.json").write_text(json.dumps(manifest))


def rewrite_metrics(path: Path, text: str) -> None:
    import hashlib

    (path / "metrics.jsonl").write_text(text)
    known = json.loads((path / "manifest.json").read_text())["files"]
    rewrite_manifest(
        path, files=known | {"metrics.jsonl": hashlib.sha256(text.encode()).hexdigest()}
    )


def test_a_record_reads_back_equal(tmp_path: Path) -> None:
    path = write(tmp_path)
    run = read_run(path)
    assert run.metrics == (RECALL, MRR)
    assert {key: run.manifest.raw[key] for key in MANIFEST} == MANIFEST
    table = read_queries(run)
    for name, values in queries().items():
        assert table[name].to_pylist() == list(values)
    assert [str(field.type) for field in table.schema] == [
        {"float32": "float", "float64": "double"}.get(kind, kind) for kind in QUERY_COLUMNS.values()
    ]


def test_records_of_one_second_are_ordered_as_they_were_written(tmp_path: Path) -> None:
    # of eight checksums drawn by chance one order in 40,320 is this one
    paths = [write(tmp_path, manifest=MANIFEST | {"note": number}) for number in range(8)]
    assert list_runs(tmp_path) == paths
    assert newest_of_each(tmp_path)[0].path == paths[-1]
    assert len({path.name.partition("-")[0] for path in paths}) == 8


def test_an_arrow_table_is_written_like_columns(tmp_path: Path) -> None:
    table = pa.table(queries())
    table = table.set_column(0, "subset", table["subset"].dictionary_encode())
    assert read_queries(read_run(write(tmp_path, queries=table))) == read_queries(
        read_run(write(tmp_path))
    )


def test_a_run_without_queries_is_a_record_too(tmp_path: Path) -> None:
    empty = {name: [] for name in queries()}
    assert read_queries(read_run(write(tmp_path, queries=empty, metrics=[]))).num_rows == 0


def test_the_folder_is_named_by_benchmark_model_time_and_hash(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path.parent == tmp_path / "flickr30k" / "jina-clip-v2"
    stamp, digest = path.name.split("-")
    manifest = read_run(path).manifest.raw
    assert stamp == manifest["written"].replace("-", "").replace(":", "")
    assert digest == manifest["checksum"][:8] and len(stamp) == 16
    assert sorted(file.name for file in path.iterdir()) == [
        "SHA256SUMS",
        "manifest.json",
        "metrics.jsonl",
        "queries.parquet",
    ]


def test_files_are_strict_sorted_utf8_with_a_newline_at_the_end(tmp_path: Path) -> None:
    path = write(tmp_path)
    for name in ("manifest.json", "metrics.jsonl"):
        text = (path / name).read_bytes().decode()
        assert text.endswith("\n") and "日本" in text
    line = json.loads((path / "metrics.jsonl").read_text().split("\n")[0])
    assert list(line) == sorted(line)
    # the keys are what reports and other people's scripts rely on
    assert set(line) == set(
        "subset direction dim precision metric k value ci_low ci_high n_queries n_gallery tie_rate".split()
    )
    group = pq.ParquetFile(path / "queries.parquet").metadata.row_group(0)
    assert group.column(0).compression == "ZSTD" and "RLE_DICTIONARY" in group.column(0).encodings


def test_a_whole_number_is_written_as_a_float(tmp_path: Path) -> None:
    line = replace(RECALL)
    object.__setattr__(line, "value", 1)  # mypy takes an int for a float
    path = write(tmp_path, metrics=[line])
    assert '"value": 1.0' in (path / "metrics.jsonl").read_text()
    assert read_run(path).metrics[0].value == 1.0


def test_the_same_run_twice_is_two_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Still(records.datetime):  # both in one second
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(records, "datetime", Still)
    paths = [write(tmp_path) for _ in range(3)]
    assert len(set(paths)) == 3
    # Of one second each would be as new as the others: it is the next one that is free.
    assert list_runs(tmp_path) == paths
    seconds = [path.name.partition("-")[0] for path in paths]
    assert seconds == ["20260102T030405Z", "20260102T030406Z", "20260102T030407Z"]
    assert all(read_run(path).metrics == (RECALL, MRR) for path in paths)


def test_runs_are_listed_by_benchmark_and_model(tmp_path: Path) -> None:
    a, b = write(tmp_path), write(tmp_path, manifest=MANIFEST | {"model": "org/other"})
    c = write(tmp_path, manifest=MANIFEST | {"benchmark": "mteb:STS"})
    (tmp_path / "README.md").write_text("not a run")
    (a.parent / "stray.txt").write_text("not a run")
    assert list_runs(tmp_path) == sorted([a, b, c]) and list_incomplete(tmp_path) == []
    assert list_runs(tmp_path, benchmark="mteb:STS") == [c]
    assert list_runs(tmp_path, model="org/other") == [b]
    assert list_runs(tmp_path, benchmark="flickr30k", model="jina-clip-v2") == [a]
    assert list_runs(tmp_path, benchmark="*") == list_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("dies_at", ["metrics.jsonl", "queries.parquet", "manifest.json"])
def test_a_run_that_dies_while_writing_is_incomplete_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    def dying(path: Path, data: bytes) -> None:
        if path.name == dies_at:
            raise KeyboardInterrupt
        write_atomically(path, data)

    monkeypatch.setattr(records, "write_atomically", dying)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    assert list_runs(tmp_path) == []
    (half,) = list_incomplete(tmp_path)
    with pytest.raises(InvalidError, match=r"manifest\.json: missing; the run is incomplete"):
        read_run(half)


@pytest.mark.parametrize("name", ["metrics.jsonl", "queries.parquet", "manifest.json"])
def test_any_flipped_byte_is_noticed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    whole = (path / name).read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        (path / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(
            InvalidError, match=name.replace(".", r"\.") if name != "manifest.json" else "."
        ):
            read_run(path)
    (path / name).write_bytes(whole)
    assert read_run(path).metrics == (RECALL, MRR)


@pytest.mark.parametrize("name", ["metrics.jsonl", "queries.parquet"])
def test_a_missing_or_cut_file_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    run, whole = read_run(path), (path / name).read_bytes()
    (path / name).write_bytes(whole[:-3])
    with pytest.raises(InvalidError, match=f"{name}: checksum mismatch"):
        read_run(path)
    (path / name).unlink()
    with pytest.raises(InvalidError, match=f"{name}: missing"):
        read_run(path)
    if name == "queries.parquet":
        with pytest.raises(InvalidError, match=f"{name}: missing"):
            read_queries(run)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema_version": 2}, "written by a newer version: schema version 2, this is 1.*Upgrade"),
        ({"schema_version": 0}, "schema_version is 0"),
        ({"schema_version": None}, "schema_version is missing"),
        ({"schema_version": True}, "schema_version is True"),
        ({"model": None}, "model is missing"),
        ({"files": ["metrics.jsonl"]}, "files is "),
        ({"benchmark": 5}, "benchmark is 5"),
        ({"checksum": None}, "checksum is missing"),
        ({"checksum": "0" * 64}, "checksum mismatch"),
        ({"files": {}}, "checksum mismatch"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    path = write(tmp_path)
    rewrite_manifest(path, **changes)
    with pytest.raises(InvalidError, match=why) as error:
        read_run(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encoder": {"dim": "64"}}, "encoder.dim is '64': input should be a valid integer"),
        ({"encoder": {"fingerprint": {"weights": 5}}}, "encoder.fingerprint.weights is 5"),
        ({"config": {"row": ["flickr"]}}, "config.row is "),
        ({"data": {"en": {"content": 7}}}, "data.en.content is 7"),
        ({"source": {"commit": "0"}}, "source.dirty is missing"),
        ({"partial": "half"}, "partial is 'half'"),
        ({"mteb": {"query_metric": "ndcg_at_10"}}, "mteb.task is missing"),
        ({"written": "2026-02-31T00:00:00Z"}, "written is '2026-02-31T00:00:00Z'"),
        ({"seconds": {"score": 1e300}}, "seconds.score is 1e"),
    ],
)
def test_an_entry_of_a_wrong_type_is_refused_by_its_key_with_a_remedy(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    path = write(tmp_path)
    rewrite_manifest(path, **changes)
    with pytest.raises(InvalidError, match=why) as error:
        read_run(path)
    assert str(error.value).startswith(str(path / "manifest.json"))
    assert str(error.value).endswith("Run the evaluation again, or remove this record.")


def test_what_readers_do_not_use_may_be_anything(tmp_path: Path) -> None:
    path = write(tmp_path)
    rewrite_manifest(path, a_later_entry=[1, {"of": "any kind"}], attempt="x")
    assert read_run(path).manifest.raw["a_later_entry"] == [1, {"of": "any kind"}]


def test_no_record_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"encoder\.dim is 0"):
        write(tmp_path, manifest=MANIFEST | {"encoder": {"dim": 0}})
    with pytest.raises(InvalidError, match=r"tie_rate is 1\.5"):
        write(tmp_path, metrics=[replace(RECALL, tie_rate=1.5)])
    assert list(tmp_path.iterdir()) == []


def test_the_main_metric_is_the_first_and_is_written(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert json.loads((path / "manifest.json").read_text())["main_metric"] == "R@1"
    assert read_run(path).main_metric == "R@1"
    rewrite_manifest(path, main_metric="MRR")
    assert read_run(path).main_metric == "MRR"
    # a record of an older version does not name it
    rewrite_manifest(path, main_metric=None)
    assert read_run(path).main_metric == "R@1"
    rewrite_manifest(path, main_metric="R@7")
    with pytest.raises(InvalidError, match=r"main_metric is 'R@7', and metrics\.jsonl has no such"):
        read_run(path)


def resigned_queries(path: Path, table: pa.Table) -> None:
    import hashlib

    pq.write_table(table, path / "queries.parquet")
    digest = hashlib.sha256((path / "queries.parquet").read_bytes()).hexdigest()
    known = json.loads((path / "manifest.json").read_text())["files"]
    rewrite_manifest(path, files=known | {"queries.parquet": digest})


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("better", pa.array(["0", "1", "2"]), "the column 'better' is string, and int64 is exp"),
        ("better", pa.array([0, None, 1]), "better has 1 missing values"),
        ("better", pa.array([0, -1, 1]), "better is -1 in a row"),
        ("tied_relevant", pa.array([1, 0, 1]), "tied_relevant is 0 in a row"),
        ("tied", pa.array([0, 10**12, 1]), "tied is 1000000000000 in a row"),
        ("ndcg10", pa.array([0.5, float("nan"), 1.0]), "ndcg10 holds NaN or infinity"),
        ("ndcg10", pa.array([0.5, 1.5, 1.0]), "ndcg10 is 1.5 in a row"),
        ("dim", pa.array([64, 64, 1024]), "the column 'dim' is int64, and int32 is expected"),
        ("group_id", None, "the column 'group_id' is missing"),
        ("extra", pa.array([[1], [2], [3]]), "the column 'extra' is list"),
    ],
)
def test_queries_that_no_evaluation_writes_are_refused_by_their_column(
    tmp_path: Path, column: str, values: Any, why: str
) -> None:
    path = write(tmp_path)
    table = read_queries(read_run(path))
    if column in table.column_names:
        table = table.drop_columns([column])
    if values is not None:
        table = table.append_column(column, values)
    resigned_queries(path, table)
    with pytest.raises(InvalidError, match=why) as error:
        read_queries(read_run(path))
    assert str(path / "queries.parquet") in str(error.value)


def test_more_rows_than_queries_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    table = read_queries(read_run(path))
    resigned_queries(path, pa.concat_tables([table] * 2))
    with pytest.raises(InvalidError, match=r"6 rows, and metrics\.jsonl counts 5 queries"):
        read_queries(read_run(path))


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"a": NaN}', '{"schema_version": 1, "peak": 1e999}', "\x00"]
)
def test_a_manifest_that_is_not_strict_json_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path)
    (path / "manifest.json").write_text(text)
    with pytest.raises(InvalidError) as error:
        read_run(path)
    assert str(path / "manifest.json") in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"dim": 1024', '"dim": "1024"', "dim is '1024'"),
        ('"dim": 1024, ', "", "dim is missing"),
        ('"value": 1.0', '"value": NaN', "NaN is no number of JSON"),
        ('"value": 1.0', '"value": 1e999', "the number 1e999 is too long, or none that is finite"),
        ('"value": 1.0', '"value": null', "value is None"),
        ('"value": 1.0', '"value": true', "value is True"),
        ('"value": 1.0', '"value": 1.0, "extra": 1', "unknown 'extra'"),
        ('"value": 1.0}', '"value": 1.0', "not JSON"),
        ('"int8"', r'"\ud800"', r"precision is '\\ud800': a lone surrogate"),
    ],
)
def test_a_metric_line_that_cannot_be_meant_is_named_by_number(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    path = write(tmp_path)
    text = (path / "metrics.jsonl").read_text()
    assert text.count(old) == 1
    rewrite_metrics(path, text.replace(old, new))
    with pytest.raises(InvalidError, match=rf"metrics\.jsonl, line 2: {why}"):
        read_run(path)


@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high", "tie_rate"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_refused_by_name_before_anything_is_written(
    tmp_path: Path, field: str, value: float
) -> None:
    with pytest.raises(InvalidError, match="metric R at 1 of en t2i, dim 64"):
        write(tmp_path, metrics=[MRR, replace(RECALL, **{field: value})])
    with pytest.raises(InvalidError, match=r"manifest\.json"):
        write(tmp_path, manifest=MANIFEST | {"peak": {"gb": value}})
    for name in ("score", "ndcg10"):
        column = queries()[name].copy()
        column[1] = value
        with pytest.raises(InvalidError, match=f"queries.parquet: {name}"):
            write(tmp_path, queries=queries() | {name: column})
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    for value in (Path("x"), b"x", {1, 2}, "\ud800"):
        with pytest.raises(InvalidError, match=r"manifest\.json: cannot be written as JSON"):
            write(tmp_path, manifest=MANIFEST | {"odd": value})


def test_keys_and_tuples_become_what_json_has(tmp_path: Path) -> None:
    run = read_run(write(tmp_path, manifest=MANIFEST | {"batch": {10: (1, 2), 9: 3}}))
    assert run.manifest.raw["batch"] == {"10": [1, 2], "9": 3}


def test_missing_or_unknown_columns_are_refused(tmp_path: Path) -> None:
    without = {name: values for name, values in queries().items() if name != "tied"}
    for columns in (without, queries() | {"extra": [1, 2, 3]}):
        with pytest.raises(InvalidError, match=r"queries\.parquet: columns"):
            write(tmp_path, queries=columns)


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "",
        "../../etc",
        "/etc/passwd",
        "a/b",
        "a\\b",
        ".hidden",
        "mteb:STS",
        "é",
        "a b",
        "x" * 300,
        "\ud800",
        "a\nb",
    ],
)
def test_no_name_leaves_its_folder(tmp_path: Path, name: str) -> None:
    part = path_component(name)
    assert part not in ("", ".", "..") and not part.startswith(".") and len(part) < 120
    assert set(part) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert (tmp_path / part).resolve().parent == tmp_path.resolve()
    assert part != name


def test_names_that_look_alike_do_not_share_a_folder() -> None:
    names = ["a/b", "a-b", "a:b", "a b", "..", "--", "x" * 101, "x" * 102, "x" * 100]
    assert len({path_component(name) for name in names}) == len(names)
    assert (
        path_component("jina-clip-v2") == "jina-clip-v2"
        and path_component("openai_ViT-B.32") == "openai_ViT-B.32"
    )


def test_a_record_can_be_moved(tmp_path: Path) -> None:
    path = write(tmp_path)
    moved = shutil.move(path, tmp_path / "baseline")
    assert read_run(Path(moved)).metrics == (RECALL, MRR)


# files


def test_an_atomic_write_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for data in (b"old", b"new"):
        write_atomically(tmp_path / "x.bin", data)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x.bin", b"new")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_keeps_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], call: str
) -> None:
    write_atomically(tmp_path / "x.bin", b"old")

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(
        *((files.os, "fsync", fails) if call == "fsync" else (Path, "replace", fails))
    )
    with pytest.raises(error):
        write_atomically(tmp_path / "x.bin", b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x.bin", b"old")]


def test_the_bytes_are_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda fd: (steps.append("sync"), fsync(fd)))
    monkeypatch.setattr(
        Path, "replace", lambda part, to: (steps.append(part.suffix), rename(part, to))[1]
    )
    write_atomically(tmp_path / "x.bin", b"data")
    assert steps == ["sync", ".part", "sync"]
