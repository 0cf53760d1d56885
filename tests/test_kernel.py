"""Counting by Triton kernels gives the ranks of the CPU, bit for bit, and compiles for the GPUs of the field."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton has no build for this platform")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from evals.ranking import dispatch, kernel
from tests.kernel_checks import CHECKS

COUNTS = {"query_above", "query_close", "doc_above", "doc_close", "length", "calls"}
FLOATS = {"sums", "query_low", "query_high", "doc_low", "doc_high", "query_scales", "doc_scales"}


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    """What is wrong with each check in Triton's interpreter, from one process for all."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernel_checks"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines: dict[str, str] = json.loads(done.stdout)
    return lines


@pytest.mark.parametrize("check", CHECKS)
def test_in_the_interpreter_kernels_give_the_ranks_of_the_cpu(
    faults: dict[str, str], check: str
) -> None:
    assert not faults[check], faults[check]


@pytest.mark.parametrize("capability", [80, 90, 100])  # A100, H100, B200
@pytest.mark.parametrize(
    ("name", "scores", "tile"),
    [
        ("count_kernel", "fp32", kernel.COUNT_TILE),
        ("count_kernel", "fp64", kernel.COUNT_TILE),
        ("list_kernel", "fp32", kernel.LIST_TILE),
    ],
)
def test_a_kernel_compiles_for_the_gpus_of_the_field_and_fits_their_registers(
    name: str, scores: str, tile: dict[str, int], capability: int, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {**tile, "SCALED": scores == "fp32"}
    function = getattr(kernel, name)
    types = dict.fromkeys(function.arg_names, "i32")
    types |= dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(COUNTS.intersection(types), "*i32")
    types |= dict.fromkeys(FLOATS, f"*{scores}")
    source = ASTSource(function, types, constants)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options=kernel.OPTIONS
    )
    cubin = tmp_path / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(cubin)]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "STACK:0 " in usage, usage  # what does not fit would go through memory


def test_a_card_whose_kernels_fail_is_counted_in_groups_and_told(monkeypatch, caplog) -> None:
    def broken(device: str) -> None:
        raise OSError("the driver is older than the compiler")

    monkeypatch.setattr(kernel, "try_kernels", broken)
    dispatch.kernel_fault.cache_clear()
    try:
        for _ in range(2):
            with dispatch._counting([], "cuda:0") as count:
                assert count is dispatch._way_to_count("cuda:0")
    finally:
        dispatch.kernel_fault.cache_clear()
    (record,) = caplog.records
    assert "cuda:0 are counted in groups" in record.getMessage()
    assert "OSError: the driver is older" in record.getMessage()
