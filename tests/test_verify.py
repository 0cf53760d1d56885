"""A record, a site and a baseline are what was written, or it is told which file or number is not."""

import json
import random
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evals.analysis.proof import prove_record, prove_sealed
from evals.analysis.recomputed import recompute
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.records import signature
from evals.records.additions import write_into
from evals.records.manifest import MANIFEST
from evals.records.record import METRICS, QUERIES, read_run
from evals.records.seal import SEAL, check_seal, read_seal
from evals.regress import baselines
from evals.regress.moves import set_baseline
from evals.schema import InvalidError
from evals.settings import Settings
from evals.stats.intervals import mean_intervals
from tests import records
from tests.commands import run
from tests.test_run import TOY
from tests.toys import HashEncoder, image_text

TAMPERINGS = 100


@pytest.fixture
def record(scenes_run: Path, tmp_path: Path) -> Path:
    """A copy of a whole record with a figure beside it, in the place that its manifest names."""
    path = tmp_path / "runs" / read_run(scenes_run).manifest.place
    shutil.copytree(scenes_run, path)
    write_into(path / "figure.png", b"\x89PNG 0123456789")
    return path


def verify(*arguments: object, cwd: Path) -> Any:
    return run(*arguments, cwd=cwd, module="evals.verify")


def tampered(path: Path, rng: random.Random) -> Path:
    """Change one digit anywhere in a folder, each digit as likely as another; the file it is in."""
    places = [
        (file, place)
        for file in sorted(path.rglob("*"))
        if file.is_file()
        for place, byte in enumerate(file.read_bytes())
        if chr(byte).isdigit()
    ]
    file, place = rng.choice(places)
    data = bytearray(file.read_bytes())
    data[place] = ord(rng.choice([digit for digit in "0123456789" if digit != chr(data[place])]))
    file.write_bytes(bytes(data))
    return file


def rewritten(path: Path, change: Any) -> Path:
    """The record once more with other metric lines, all hashes made anew: only its numbers can tell."""
    lines = change(list(read_run(path).metrics))
    return records.rewritten(path, path.parents[3] / "again", lines=lines)


def perfect(root: Path, n: int) -> Path:
    """A record of n queries, two per image, all of which hit."""
    interval = mean_intervals({"R@1": np.ones(n)}, np.arange(n) // 2)["R@1"]
    assert interval is not None
    line = records.line("R@1", 1.0, ci_low=interval.low, ci_high=interval.high)
    return records.write(root, [line], records.queries(n))


def sealed_files(record: Path) -> list[Path]:
    return [path for path in record.rglob("*") if path.is_file() and path.name != SEAL]


def test_a_record_is_whole_and_all_its_numbers_come_out_again(record: Path) -> None:
    proof = prove_record(record)
    assert not proof.problems and not proof.notes and not proof.unknown
    # a sweep or a comparison of another test may have left its figures in the record
    assert proof.sealed and proof.files == len(sealed_files(record))
    lines = read_run(record).metrics
    assert proof.values == len(lines)
    assert proof.intervals == sum(line.ci_low is not None for line in lines)


@pytest.mark.parametrize("part", range(4))
def test_a_changed_digit_anywhere_in_a_record_is_found(record: Path, part: int) -> None:
    original = {file: file.read_bytes() for file in record.iterdir()}
    rng = random.Random(part)
    touched = set()
    for _ in range(TAMPERINGS // 4):
        touched.add(tampered(record, rng).name)
        proof = prove_record(record)
        assert proof.problems
        for file, data in original.items():
            file.write_bytes(data)
    assert {QUERIES, METRICS} <= touched
    assert not prove_record(record).problems


@pytest.mark.parametrize("name", [MANIFEST, METRICS, QUERIES, SEAL, "figure.png"])
def test_a_changed_digit_of_each_file_is_told_with_its_name(record: Path, name: str) -> None:
    data = (record / name).read_bytes()
    place = next(i for i, byte in reversed(list(enumerate(data))) if chr(byte).isdigit())
    digit = b"1" if data[place : place + 1] != b"1" else b"2"
    (record / name).write_bytes(data[:place] + digit + data[place + 1 :])
    done = verify(record, cwd=record)
    assert done.returncode == 3 and "BROKEN" in done.stdout
    assert (name in done.stdout) or name == SEAL


def test_a_digit_that_changes_no_value_is_found_by_the_bytes(record: Path) -> None:
    """The seventeenth digit of a float64 may be another one and mean the same number."""
    text = (record / MANIFEST).read_text()
    (record / SEAL).unlink()
    (record / MANIFEST).write_text(text.replace('"attempt": 1', '"attempt":  1'))
    assert read_run(record)  # by value nothing changed
    (problem,) = prove_record(record).problems
    assert "manifest.json: not in the form" in problem


def test_a_number_that_was_changed_with_all_hashes_made_anew_is_found(record: Path) -> None:
    from dataclasses import replace

    def value(lines):
        return [replace(lines[0], value=lines[0].value + 1e-6), *lines[1:]]

    def end(lines):
        return [replace(lines[0], ci_low=lines[0].ci_low - 1e-6), *lines[1:]]

    def ties(lines):
        return [replace(lines[0], tie_rate=0.25), *lines[1:]]

    for change, word in ((value, "is 0."), (end, "has ci_low"), (ties, "has tie_rate 0.25")):
        proof = prove_record(rewritten(record, change))
        assert proof.sealed
        assert any(word in problem for problem in proof.problems), change


def test_a_changed_count_of_the_gallery_is_found_by_the_counts_of_the_data(record: Path) -> None:
    from dataclasses import replace

    def all_lines(lines):
        return [replace(line, n_gallery=line.n_gallery + 1) for line in lines]

    problems = prove_record(rewritten(record, all_lines)).problems
    assert any("has an n_gallery of" in problem for problem in problems)

    def one_line(lines):
        return [replace(lines[0], n_gallery=lines[0].n_gallery + 1), *lines[1:]]

    problems = prove_record(rewritten(record, one_line)).problems
    assert any("and one of" in problem for problem in problems)


def test_removed_intervals_and_lines_are_found(record: Path) -> None:
    from dataclasses import replace

    def without_intervals(lines):
        return [replace(line, ci_low=None, ci_high=None) for line in lines]

    def without_a_line(lines):
        return [line for line in lines if line.name != "MRR"]

    def without_a_cell(lines):
        first = lines[0].direction, lines[0].dim
        return [line for line in lines if (line.direction, line.dim) != first]

    for change, words in (
        (without_intervals, "R@1 of en t2i, dim 256 has no interval, and its queries make one"),
        (without_a_line, "MRR of en t2i, dim 256 is missing"),
        (without_a_cell, "6,000 rows, and metrics.jsonl counts 4,000 queries"),
    ):
        problems = prove_record(rewritten(record, change)).problems
        assert any(words in problem for problem in problems), (words, problems)


def test_a_query_that_was_changed_with_all_hashes_made_anew_is_found(record: Path) -> None:
    columns = records.columns_of(record)
    columns["better"][np.flatnonzero(columns["better"] == 0)[0]] = 7
    path = records.rewritten(record, record.parents[3] / "again", table=columns)
    assert any("R@1 of en t2i" in problem for problem in prove_record(path).problems)


def test_a_record_of_earlier_versions_is_whole_and_not_sealed(record: Path) -> None:
    (record / SEAL).unlink()
    proof = prove_record(record)
    assert not proof.problems and not proof.sealed
    assert "not sealed" in proof.notes[0]
    done = verify(record, cwd=record)
    assert done.returncode == 0 and "whole" in done.stdout and "not sealed" in done.stdout


@pytest.mark.parametrize("put", [lambda seal: seal.mkdir(), lambda seal: seal.symlink_to("gone")])
def test_a_seal_that_is_no_file_is_no_record_without_a_seal(record: Path, put: Any) -> None:
    (record / SEAL).unlink()
    put(record / SEAL)
    [problem] = prove_record(record).problems
    assert SEAL in problem


def test_coreutils_read_the_seal(record: Path) -> None:
    command = ["sha256sum", "--check", "--strict", SEAL]
    assert subprocess.run(command, cwd=record, capture_output=True).returncode == 0
    (record / "figure.png").write_bytes(b"another")
    assert subprocess.run(command, cwd=record, capture_output=True).returncode == 1


def test_a_file_that_comes_later_joins_the_seal_and_blesses_no_other(record: Path) -> None:
    (record / METRICS).write_bytes(b"changed")
    write_into(record / "later.png", b"later")
    seal = check_seal(record)
    assert seal is not None and seal.files == len(sealed_files(record)) and not seal.unnamed
    assert [METRICS in problem for problem in seal.problems] == [True]


def test_files_that_come_at_once_are_all_in_the_seal(record: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: write_into(record / f"{n}.png", b"x"), range(24)))
    seal = check_seal(record)
    assert seal is not None and not seal.unnamed and not seal.problems


def test_figures_elsewhere_touch_no_seal_of_others(tmp_path: Path) -> None:
    (tmp_path / SEAL).write_text("not ours")
    write_into(tmp_path / "figure.png", b"x")
    assert (tmp_path / SEAL).read_text() == "not ours"


def test_a_stray_file_is_told_and_breaks_nothing(record: Path) -> None:
    (record / "notes.txt").write_text("mine")
    proof = prove_record(record)
    assert not proof.problems and "notes.txt" in proof.notes[0]


def test_a_clock_set_back_during_a_run_is_noted_and_is_no_tampering(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # One hour back after the start, as a clock that was ahead is set right.
    for module, hour in (("evaluate", 1_700_003_600.0), ("recording", 1_700_000_000.0)):
        clock = SimpleNamespace(time=lambda hour=hour: hour, monotonic=time.monotonic)
        monkeypatch.setattr(f"evals.evaluation.{module}.time", clock)
    monkeypatch.setattr("evals.data.images.verify", lambda items, indices: None)
    settings = Settings(results=tmp_path / "runs", store=tmp_path / "store")
    parts = Parts({"en": image_text([i // 5 for i in range(100)])}, None)
    path = evaluate(TOY, parts, HashEncoder(), [8], settings).path
    proof = prove_record(path)
    assert not proof.problems
    assert [note for note in proof.notes if "clock" in note] == [
        "manifest.json: finished at 2023-11-14T22:13:20Z, before it was started at "
        "2023-11-14T23:13:20Z: the clock was set back during the run, or the times were changed."
    ]
    # Durations are those of a clock that nobody sets.
    seconds = read_run(path).manifest.seconds
    assert all(0 <= value < 60 for value in seconds.values())


def test_a_seal_that_is_none_is_refused(record: Path) -> None:
    (record / SEAL).write_text("abc  manifest.json\n")
    with pytest.raises(InvalidError, match="line 1"):
        read_seal(record)
    assert prove_record(record).problems


def test_classification_pairs_and_graded_records_come_out_again(tmp_path: Path) -> None:
    """The record of each kind of task that the bundled data does not have, by the task's own code."""
    from evals.evaluation.recording import metric_lines, query_table
    from evals.schema import Items, LabeledImages, Side, TextPairs, TextRetrieval
    from evals.tasks import classification, retrieval, text_pairs

    rng = np.random.default_rng(0)

    def side(kind: str, n: int) -> Side:
        ids = [f"{kind}{i}" for i in range(n)]
        return Side(kind, ids, ids, ids)

    rows = rng.standard_normal((2, 60, 8)).astype(np.float32)
    labels = rng.integers(6, size=60)
    labelled = LabeledImages(
        images=side("image", 60),
        texts=side("text", 6),
        labels=labels,
        class_of_text=np.arange(6),
        classnames=tuple(f"c{i}" for i in range(6)),
        origin={},
    )
    pairs = TextPairs(side("text", 60), side("text", 60), rng.random(60), {})
    none = Side("image", [], [], [])
    texts = side("text", 60)
    items = Items(texts.ids, texts, none, np.arange(60), np.zeros(0, dtype=np.int64))
    qrels = np.stack([np.arange(60), rng.permutation(60) // 2, np.ones(60, int)], axis=1)
    graded = TextRetrieval(items, items, qrels.astype(np.int64), {})
    scored = {
        "labels": classification.score([rows[0], rows[1][:6]], labelled, dims=[8, 4]),
        "pairs": text_pairs.score(list(rows), pairs, dims=[8, 4]),
        "graded": retrieval.score(list(rows), graded, dims=[8, 4]),
    }
    for name, scores in scored.items():
        by_subset = {"all": scores}
        path = records.write(
            tmp_path, metric_lines(by_subset), query_table(by_subset), benchmark=name
        )
        again = recompute(read_run(path))
        assert not again.problems and not again.unknown
        assert again.values == len(read_run(path).metrics) and again.intervals > 0


def test_intervals_of_earlier_versions_are_known(tmp_path: Path) -> None:
    from evals.stats.bootstrap import cluster_bootstrap

    hits = np.repeat([1.0, 0.0], 4)
    groups = np.repeat(np.arange(4), 2)
    interval = cluster_bootstrap({"R@1": hits}, groups)["R@1"]
    assert interval is not None
    table = records.queries(8, better=(1 - hits).astype(int).tolist())
    line = records.line("R@1", 0.5, ci_low=interval.low, ci_high=interval.high)
    assert not prove_record(records.write(tmp_path, [line], table)).problems


def test_a_baseline_is_held_to_its_index_history_and_records(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "BASELINES", tmp_path / "baselines")
    path = perfect(tmp_path / "toy", 400)
    folder = set_baseline("ci", [read_run(path)], "first").records[0].parents[2]
    assert verify("ci", cwd=tmp_path).returncode == 0
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    rng = random.Random(0)
    for _ in range(30):
        tampered(folder, rng)
        assert verify(folder, cwd=tmp_path).returncode == 3
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
    assert json.loads(verify(folder, "--json", cwd=tmp_path).stdout)["proofs"][0]["sealed"]


def test_a_baseline_of_earlier_versions_is_whole_and_its_history_not_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "BASELINES", tmp_path / "baselines")
    path = perfect(tmp_path / "toy", 400)
    folder = set_baseline("ci", [read_run(path)], "first").records[0].parents[2]
    index = baselines.read_index(folder)
    old = baselines.Index(index.records, index.history)
    (folder / "index.json").write_bytes(old.as_json())
    done = verify(folder, cwd=tmp_path)
    assert done.returncode == 0 and "history.jsonl has no hash" in done.stdout


def test_a_site_is_held_to_its_seal(tmp_path: Path) -> None:
    from evals.dashboard.history import read_history
    from evals.dashboard.site import Verdicts, build

    records.write(tmp_path / "runs", [records.line("R@1", 1.0)], records.queries(4))
    site = tmp_path / "site"
    build(read_history(tmp_path / "runs"), Verdicts(), site)
    (site / "CNAME").write_text("example.org")
    build(read_history(tmp_path / "runs"), Verdicts(), site)
    proof = prove_sealed(site)
    assert proof.sealed and not proof.problems and "CNAME" in proof.notes[0]
    rng = random.Random(1)
    (site / "CNAME").unlink()
    file = tampered(site, rng)
    done = verify(site, cwd=tmp_path)
    assert done.returncode == 3 and file.name in done.stdout
    (site / SEAL).unlink()
    assert "not sealed" in verify(site, cwd=tmp_path).stdout


def test_a_folder_of_records_means_all_of_them(record: Path, tmp_path: Path) -> None:
    perfect(record.parents[2], 4)
    # The folder of all records, of a benchmark, and of a benchmark by a model.
    for folder, number in ((record.parents[2], 2), (record.parents[1], 1), (record.parent, 1)):
        answer = json.loads(verify(folder, "--json", cwd=tmp_path).stdout)
        assert answer["whole"] and len(answer["proofs"]) == number, folder
    (record / METRICS).write_bytes(b"")
    done = verify(record.parents[2], "--json", cwd=tmp_path)
    assert done.returncode == 3 and not json.loads(done.stdout)["whole"]


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_record_without_its_manifest_is_found_among_others_and_by_itself(
    is_sealed: bool, record: Path, tmp_path: Path
) -> None:
    """A run that was killed while it wrote leaves one like this, with a seal or without."""
    perfect(record.parents[2], 4)
    (record / MANIFEST).unlink()
    if not is_sealed:
        (record / SEAL).unlink()
    for target in (record.parents[2], record):
        done = verify(target, cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert f"BROKEN {record}: " in done.stdout
        assert f"{record / MANIFEST}: missing. The run was interrupted" in done.stdout
        assert ("whole" in done.stdout) == (target != record)


def test_a_folder_in_place_of_a_manifest_is_found_among_others(
    record: Path, tmp_path: Path
) -> None:
    perfect(record.parents[2], 4)
    (record / MANIFEST).unlink()
    (record / MANIFEST).mkdir()
    done = verify(record.parents[2], cwd=tmp_path)
    assert done.returncode == 3 and "BROKEN" in done.stdout and "whole" in done.stdout


def test_a_file_and_a_link_to_nothing_are_no_baselines_by_mistake(
    record: Path, tmp_path: Path
) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "link").symlink_to(record)
    for target, code, says in (
        (record / MANIFEST, 2, f"a file. Name its folder: {record}."),
        (tmp_path / "nowhere", 2, f"a link to {tmp_path / 'gone'}, which is not there."),
        ("file:///etc", 2, "A folder or a bucket is wanted"),
    ):
        done = run(target, cwd=tmp_path, module="evals.verify")
        assert done.returncode == code and says in done.stderr
    # Through a link it is whole, and lies elsewhere than it says.
    done = run(tmp_path / "link", cwd=tmp_path, module="evals.verify")
    assert done.returncode == 0 and "elsewhere than its manifest says" in done.stdout


def test_what_is_nothing_of_ours_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    assert verify(tmp_path, cwd=tmp_path).returncode == 2
    assert verify(tmp_path / "none", cwd=tmp_path).returncode == 2


@pytest.fixture
def key(tmp_path: Path) -> Path:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen on this machine: apt-get install openssh-client")
    path = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def test_a_signature_says_who_and_only_of_these_bytes(
    record: Path, key: Path, tmp_path: Path
) -> None:
    signers = tmp_path / "signers"
    signers.write_text(f"ann@example.org {key.with_suffix('.pub').read_text()}")
    done = verify(record, "--sign", key, cwd=tmp_path)
    assert done.returncode == 0 and f"{MANIFEST}.sig" in done.stderr
    done = verify(record, "--check-signature", signers, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["proofs"][0]["signer"] == "ann@example.org"
    # a figure that comes later leaves it as it is
    write_into(record / "later.png", b"later")
    assert verify(record, "--check-signature", signers, cwd=tmp_path).returncode == 0
    text = (record / MANIFEST).read_text()
    (record / MANIFEST).write_text(text.replace('"attempt": 1', '"attempt":  1'))
    with pytest.raises(InvalidError, match=r"no signature of manifest\.json"):
        signature.check_signature(record / MANIFEST, signers)


def test_a_signature_by_nobody_on_the_list_and_none_at_all_are_broken(
    record: Path, key: Path, tmp_path: Path
) -> None:
    signers = tmp_path / "signers"
    signers.write_text("")
    done = verify(record, "--check-signature", signers, cwd=tmp_path)
    assert done.returncode == 3 and "is not signed" in done.stdout
    verify(record, "--sign", key, cwd=tmp_path)
    done = verify(record, "--check-signature", signers, cwd=tmp_path)
    assert done.returncode == 3 and "of nobody in" in done.stdout


def test_nothing_broken_is_signed(record: Path, key: Path, tmp_path: Path) -> None:
    (record / METRICS).write_bytes(b"")
    assert verify(record, "--sign", key, cwd=tmp_path).returncode == 3
    assert not (record / f"{MANIFEST}.sig").exists()


def test_a_key_that_is_none_is_refused(record: Path, tmp_path: Path) -> None:
    for name in ("none", record / METRICS):
        done = verify(record, "--sign", name, cwd=tmp_path)
        assert done.returncode in (2, 5) and "--sign" in done.stderr
