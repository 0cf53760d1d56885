"""Counting and searching by Triton kernels gives what the CPU does, bit for bit, and compiles for the GPUs of the field."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

pytest.importorskip("triton", reason="Triton has no build for this platform")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from evals.ranking import dispatch, kernel, kernel_trial, search, search_kernel
from evals.ranking.best_docs import LAST, BestDocs
from tests.kernel_checks import CHECKS

COUNTS = {"query_above", "query_close", "doc_above", "doc_close", "length", "calls"}
KEYS = {"keys", "filled"}
FLOATS = {
    "scores",
    "bars",
    "sums",
    "query_low",
    "query_high",
    "doc_low",
    "doc_high",
    "query_scales",
    "doc_scales",
}


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
    ("module", "name", "scores", "constants"),
    [
        (kernel, "count_kernel", "fp32", {**kernel.COUNT_TILE, "SCALED": True}),
        (kernel, "count_kernel", "fp64", {**kernel.COUNT_TILE, "SCALED": False}),
        (kernel, "list_kernel", "fp32", {**kernel.LIST_TILE, "SCALED": True}),
        (search_kernel, "collect_kernel", "fp32", {**search_kernel.TILE, "LAST_DOC": LAST}),
    ],
)
def test_a_kernel_compiles_for_the_gpus_of_the_field_and_fits_their_registers(
    module: ModuleType,
    name: str,
    scores: str,
    constants: dict[str, int],
    capability: int,
    tmp_path,
    monkeypatch,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(module, name)
    types = dict.fromkeys(function.arg_names, "i32")
    types |= dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(COUNTS.intersection(types), "*i32")
    types |= dict.fromkeys(KEYS.intersection(types), "*i64")
    types |= dict.fromkeys(FLOATS.intersection(types), f"*{scores}")
    source = ASTSource(function, types, constants)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options=module.OPTIONS
    )
    cubin = tmp_path / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(cubin)]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "STACK:0 " in usage, usage  # what does not fit would go through memory


@pytest.fixture
def kernels_fail(monkeypatch) -> Iterator[None]:
    def broken(device: str) -> None:
        raise OSError("the driver is older than the compiler")

    for module in (kernel, search_kernel):
        monkeypatch.setattr(module, "try_kernels", broken)
    kernel_trial.kernel_fault.cache_clear()
    yield
    kernel_trial.kernel_fault.cache_clear()


@pytest.mark.usefixtures("kernels_fail")
def test_a_card_whose_kernels_fail_is_counted_in_groups_and_told(caplog) -> None:
    for _ in range(2):
        with dispatch._counting([], "cuda:0") as count:
            assert count is dispatch._way_to_count("cuda:0")
    (record,) = caplog.records
    assert "cuda:0 are counted in groups" in record.getMessage()
    assert "OSError: the driver is older" in record.getMessage()


@pytest.mark.usefixtures("kernels_fail")
def test_a_card_whose_kernels_fail_is_searched_by_torch_and_told(monkeypatch, caplog) -> None:
    # there is no card: what is made on one is made on the CPU
    devices: list[str] = []

    def on_cpu(*sizes: int, block: int, device: str) -> BestDocs:
        devices.append(device)
        return BestDocs(*sizes, block=block, device="cpu")

    monkeypatch.setattr(search, "BestDocs", on_cpu)
    search.best_docs(3, 2, block=4, device="cuda:0")
    assert devices == ["cuda:0"]
    (record,) = caplog.records
    assert "cuda:0 are searched by torch's operations" in record.getMessage()


def test_a_cpu_is_searched_without_kernels() -> None:
    assert type(search.best_docs(3, 2, block=4, device="cpu")) is BestDocs
