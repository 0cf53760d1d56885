"""A number and its noun agree in sentences."""

from pathlib import Path

import pytest

from evals.counts import counted
from tests.commands import run


@pytest.mark.parametrize(
    ("number", "nouns", "words"),
    [
        (0, ("file",), "0 files"),
        (1, ("file",), "1 file"),
        (2, ("file",), "2 files"),
        (1, ("query is", "queries are"), "1 query is"),
        (1200, ("query is", "queries are"), "1,200 queries are"),
    ],
)
def test_a_number_and_its_noun_agree(number: int, nouns: tuple[str, ...], words: str) -> None:
    assert counted(number, *nouns) == words


def test_one_model_is_named_where_two_are_compared(tmp_path: Path) -> None:
    done = run("tiny", cwd=tmp_path, module="evals.parity")
    assert done.returncode == 2 and "Two models are compared, and 1 is named." in done.stderr
