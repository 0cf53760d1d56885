"""A compiled image tower gives the rows of the eager one, and is compiled once for all of its equal blocks."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_equal_blocks_share_one_graph_and_a_padded_pass_equals_a_full_one(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiled_checks", backend],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
