"""Names with numbers stand in the order of the numbers: in lists of records, on the site, in comparisons."""

from pathlib import Path

import pytest

from evals.dashboard.history import read_history
from evals.natural import natural
from evals.records.manifest import MANIFEST
from evals.records.record import list_runs
from evals.records.selection import operand, shared_benchmarks
from tests import records
from tests.site_records import write

STEPS = ["step-9", "step-80", "step-700"]


@pytest.mark.parametrize(
    "names",
    [
        ["noise-200", "noise-1000"],
        ["v1", "v1.5", "v1.10", "v2"],
        ["a", "a2", "a10", "b1"],
        ["7b", "13b", "tiny"],
        ["", "01", "1"],  # equal numbers stand by their digits
        ["²", "٣"],  # digits of other kinds are text
    ],
)
def test_digits_count_as_numbers_and_all_else_as_text(names: list[str]) -> None:
    assert sorted(set(names), key=natural) == names


def test_records_and_the_site_list_models_and_benchmarks_so(tmp_path: Path) -> None:
    for name in STEPS:
        write(tmp_path, name, 1, benchmark="multi-10")
        write(tmp_path, name, 2, benchmark="multi-9")
    folders = [path.parts[-3:-1] for path in list_runs(tmp_path)]
    expected = [(benchmark, name) for benchmark in ("multi-9", "multi-10") for name in STEPS]
    assert folders == expected
    assert list(read_history(tmp_path).series()) == expected


def test_records_of_a_model_stay_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Times of one second are told apart by hashes, whose digits are no numbers."""
    names = ["20260101T000000Z-10aaaaaa", "20260101T000000Z-9aaaaaaa"]
    for name in reversed(names):
        folder = tmp_path / "toy" / "m" / name
        folder.mkdir(parents=True)
        (folder / MANIFEST).touch()
    assert [path.name for path in list_runs(tmp_path)] == names


def test_a_comparison_of_all_that_is_shared_begins_with_the_smaller_number(tmp_path: Path) -> None:
    for benchmark in ("set-100", "set-20"):
        for model in ("a", "b"):
            records.write(
                tmp_path, [records.line()], records.queries(), benchmark=benchmark, model=model
            )
    operands = [operand("a"), operand("b")]
    assert shared_benchmarks(operands, tmp_path).names == ["set-20", "set-100"]
