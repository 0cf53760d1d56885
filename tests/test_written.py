"""What was evaluated as a path is found again by that path, and what was not there is told with the remedy."""

from pathlib import Path
from typing import Any

import pytest

from evals.records import selection
from evals.records.manifest import Manifest, read_manifest
from evals.records.selection import check_target, matched, newest_run, operand
from evals.records.written import command_like, model_argument
from evals.schema import ConfigError, MissingError
from tests import records


def measured_from(root: Path, checkpoint: Path, photos: Path, **fields: Any) -> Path:
    """A record of photos in a folder, by a checkpoint in a folder."""
    encoder = records.encoder(checkpoint.name) | {"source": {"folder": str(checkpoint)}}
    row = {"name": "photos", "own": {"kind": "captions", "place": str(photos), "columns": None}}
    usual = {"benchmark": "photos", "model": checkpoint.name, "encoder": encoder}
    usual["config"] = {"dims": [8], "row": row}
    return records.write(root, [records.line()], records.queries(), **usual | fields)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Records of one folder of photos by an old and a new checkpoint."""
    for name in ("old", "new"):
        measured_from(tmp_path / "runs", tmp_path / name, tmp_path / "photos")
    return tmp_path / "runs"


@pytest.mark.parametrize("before", ["", "photos="])
def test_checkpoints_compare_by_the_words_they_were_evaluated_with(
    results: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = results.parent
    monkeypatch.chdir(here)
    sides = operand(f"{here}/old"), operand("./new@8")
    ((a, b),) = matched(*sides, results, [f"{before}captions:photos/"])
    assert (a.label, b.label) == ("old@8", "new@8")
    # and on all that both have
    ((a, b),) = matched(*sides, results)
    assert (a.label, b.label) == ("old@8", "new@8")


def test_a_hub_id_means_the_model_that_its_records_call_otherwise(tmp_path: Path) -> None:
    encoder = records.encoder("org--m") | {"source": {"repo": "org/m"}}
    path = records.write(
        tmp_path, [records.line()], records.queries(), model="org--m", encoder=encoder
    )
    assert newest_run(tmp_path, "toy", "org/m").path == path


def test_a_folder_is_no_other_of_the_same_name(results: Path) -> None:
    """Nor one whose name another has taken since."""
    here = results.parent
    place = f"captions:{here / 'photos'}"
    with pytest.raises(MissingError, match="no complete record"):
        newest_run(results, place, str(here / "elsewhere" / "old"))
    with pytest.raises(MissingError, match="no complete record"):
        newest_run(results, f"captions:{here / 'elsewhere' / 'photos'}", str(here / "old"))
    with pytest.raises(MissingError, match="no complete record"):
        newest_run(results, f"labels:{here / 'photos'}", str(here / "old"))
    measured_from(results, here / "elsewhere" / "old", here / "photos")
    with pytest.raises(MissingError, match="no complete record"):
        newest_run(results, place, str(here / "old"))


def test_the_whole_goes_before_a_part(results: Path) -> None:
    here = results.parent
    part = {"benchmark": "photos.partial", "partial": {"limit": 1}}
    path = measured_from(results, here / "old", here / "photos", **part)
    place = f"captions:{here / 'photos'}"
    assert newest_run(results, place, "old").manifest.benchmark == "photos"
    assert newest_run(results, "photos.partial", str(here / "old")).path == path


@pytest.mark.parametrize(
    ("benchmark", "model", "says"),
    [
        ("photos", "odl", r"There is photos by new, photos by old\. Did you mean old\?$"),
        ("photos", "nwe", r"Did you mean new\?$"),
        ("old", "photos", r"The model goes first: old photos\.$"),
        (
            "old@64",
            "photos",
            r"photos is a benchmark: write the models first, then the benchmark\.$",
        ),
        ("photos", "/ckpt/3", r"evals\.run photos=captions:/\S+photos --model /ckpt/3$"),
        ("flickr8k", "old", r"evals\.run flickr8k --model old$"),
    ],
)
def test_what_was_not_measured_is_told_with_the_remedy(
    results: Path, benchmark: str, model: str, says: str
) -> None:
    with pytest.raises(MissingError, match=says):
        newest_run(results, benchmark, model)


def test_a_misspelled_place_is_answered_with_the_place_that_was_measured(results: Path) -> None:
    place = results.parent / "photos"
    with pytest.raises(MissingError, match=rf"Did you mean captions:{place}\?$"):
        newest_run(results, f"captions:{place.with_name('fotos')}", "old")


@pytest.mark.parametrize(
    ("benchmark", "fields", "command", "measured", "scored"),
    [
        # What evals.run measures, whatever else it measured with it.
        (
            "toy",
            {},
            ["python", "-m", "evals.run", "--suite", "all", "--model", "ckpt/m"],
            "python -m evals.run toy --model 'ckpt/new one'",
            "python -m evals.mrl_sweep --benchmarks toy --model ckpt/m --dims 4",
        ),
        # What other commands measure, and parts.
        (
            "pets.knn",
            {},
            ["python", "-m", "evals.probe", "pets", "--knn", "5", "--dims", "8", "-m", "ckpt/m"],
            "python -m evals.probe pets --knn 5 --dims 8 --model 'ckpt/new one'",
            "python -m evals.probe pets --knn 5 --dims 4 --model ckpt/m",
        ),
        (
            "toy.partial",
            {"partial": {"limit": 5}},
            ["python", "-m", "evals.run", "toy", "--limit", "5", "-m", "ckpt/m"],
            "python -m evals.run toy --limit 5 --model 'ckpt/new one'",
            "python -m evals.mrl_sweep --benchmarks toy --model ckpt/m --dims 4",
        ),
        (
            "mteb.STS17.test",
            {"mteb": {"task": "STS17", "splits": ["test"], "all_splits": ["dev", "test"]}},
            ["python", "-m", "evals.run", "--suite", "sts", "-m", "ckpt/m"],
            "python -m evals.run mteb:STS17/test --model 'ckpt/new one'",
            "python -m evals.run mteb:STS17/test --dims 4 --model ckpt/m",
        ),
    ],
)
def test_the_remedy_is_the_command_that_measures_such_a_record(
    tmp_path: Path,
    benchmark: str,
    fields: dict[str, Any],
    command: list[str],
    measured: str,
    scored: str,
) -> None:
    records.write(
        tmp_path,
        [records.line()],
        records.queries(),
        benchmark=benchmark,
        command=command,
        **fields,
    )
    with pytest.raises(MissingError) as missing:
        newest_run(tmp_path, benchmark, "ckpt/new one")
    assert str(missing.value).endswith(f"Measure it with: {measured}")
    with pytest.raises(ConfigError) as unscored:
        selection.measured(operand("m@4"), tmp_path, benchmark)
    assert str(unscored.value).endswith(f"there is @8. Run: {scored}")


def test_what_is_scored_in_float32_alone_is_given_no_command_for_less(tmp_path: Path) -> None:
    command = ["python", "-m", "evals.probe", "pets", "--knn", "5", "-m", "m"]
    records.write(
        tmp_path, [records.line()], records.queries(), benchmark="pets.knn", command=command
    )
    with pytest.raises(ConfigError, match=r"It is scored in float32 alone\.$"):
        selection.measured(operand("m:int8"), tmp_path, "pets.knn")


@pytest.mark.parametrize(
    ("target", "benchmarks", "says"),
    [
        (
            "old",
            [],
            r"^old: is no record\. Name the folder of a record, or a model and its benchmark",
        ),
        (".", [], r"^\.: has no manifest\.json and so is no record\."),
        ("record", ["photos"], r"^record: a record is of one benchmark\. Leave photos out\.$"),
    ],
)
def test_a_target_that_says_too_little_or_too_much_is_refused(
    results: Path, target: str, benchmarks: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results)
    (results / "record").symlink_to(newest_run(results, "photos", "old").path)
    check_target(operand("record"), [])
    check_target(operand("old"), ["photos"])
    with pytest.raises(ConfigError, match=says):
        check_target(operand(target), benchmarks)


def test_a_path_that_is_no_record_is_called_so(results: Path) -> None:
    for name in ("/no/such.json", "such.json"):
        says = rf"^{name}: no record is there .*manifest\.json.*There is photos by new, photos by old\."
        with pytest.raises(MissingError, match=says):
            matched(operand("old"), operand(name), results)


def manifest_of(root: Path, model: str, command: list[str]) -> Manifest:
    path = records.write(
        root,
        [records.line()],
        records.queries(),
        model=model,
        command=command,
        encoder=records.encoder(model) | {"source": {"folder": f"runs/{model}/500"}},
    )
    return read_manifest(path)


RUN = ["python", "-m", "evals.run"]


@pytest.mark.parametrize(
    ("made", "typed", "expected"),
    [
        # The same model: the command as it was.
        ([*RUN, "toy", "-m", "old"], None, "python -m evals.run toy -m old"),
        # Another one, as its own command names it, whatever the spelling of the option.
        (
            [*RUN, "toy", "--model", "old", "--dims", "8,4"],
            [*RUN, "toy", "--model=mine=ck pt/7"],
            "python -m evals.run toy --dims 8,4 --model 'mine=ck pt/7'",
        ),
        # Of several models one, and a command that names none.
        (
            ["jina-clip-evals", "run", "-m", "old", "toy", "--model", "b"],
            [*RUN, "toy", "-m", "new", "-m", "b"],
            "jina-clip-evals run toy --model new",
        ),
        (
            ["python", "-m", "evals.mrl_sweep", "--dims", "8"],
            ["python", "train.py", "--model", "x"],
            "python -m evals.mrl_sweep --dims 8 --model new",
        ),
        # A program of one's own, which may take --model for something else.
        (
            ["python", "train.py", "--model", "x"],
            [*RUN, "toy", "-m", "new"],
            "python train.py --model x",
        ),
        (
            ["python", "-m", "torch.distributed.run", "train.py", "--model", "x"],
            [*RUN, "toy", "-m", "new"],
            "python -m torch.distributed.run train.py --model x",
        ),
        # A watch, which would not measure a checkpoint again.
        (
            ["python", "-m", "evals.watch", "runs/old", "toy", "--once"],
            None,
            "python -m evals.run toy --model old=runs/old/500",
        ),
        (
            ["jina-clip-evals", "watch", "runs/old", "toy", "--once"],
            [*RUN, "toy", "-m", "new"],
            "python -m evals.run toy --model new",
        ),
        (
            [*RUN, "toy", "-m", "old"],
            ["python", "-m", "evals.watch", "runs/new", "toy"],
            "python -m evals.run toy --model new=runs/new/500",
        ),
        # A command that never ran.
        ([*RUN, "toy", "--model"], [*RUN, "toy", "-m", "new"], "python -m evals.run toy --model"),
    ],
)
def test_the_command_of_a_record_measures_another_model(
    tmp_path: Path, made: list[str], typed: list[str] | None, expected: str
) -> None:
    old = manifest_of(tmp_path / "a", "old", made)
    other = manifest_of(tmp_path / "b", "new", typed) if typed else old
    assert command_like(old, model_argument(other)) == expected
