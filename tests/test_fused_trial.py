"""Triton's element-wise kernels are used where they run and are right; elsewhere torch does the work, told once."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from jina_clip import fused_trial, layers
from jina_clip.fused_trial import fused_fault

CPU = torch.device("cpu")
FULL = torch.OutOfMemoryError("CUDA out of memory")
# What the kernels compute, by the plain code of the layers: in the dtype of the activations.
TOY = """
import torch, torch.nn.functional as F
from jina_clip.layers import rotate_halves, rotate_pairs
def turn(x, cos, sin, *, pairs):
    (rotate_pairs if pairs else rotate_halves)(x, cos, sin)
def swiglu_norm(x, norm):
    gate, value = x.chunk(2, dim=-1)
    hidden = norm.normalized_shape[0]
    gated = (F.silu(gate) * value)[..., :hidden]
    return F.pad(norm(gated), (0, gate.shape[-1] - hidden))
def gated_gelu(x):
    gate, value = x.chunk(2, dim=-1)
    return F.gelu(gate) * value
def norm_of_sum(x, y, norm, total=None):
    return x + y, norm(x + y)
def linear_gelu(x, weight, bias):
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")
"""


GELU = "cuBLAS' product with GELU"


class OnCard(torch.Tensor):
    """A tensor that says it is on a card."""

    is_cuda = True


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No trial is remembered from one test to another."""
    fused_trial._fault.cache_clear()
    yield
    fused_trial._fault.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, body: str = TOY) -> ModuleType:
    """Kernels for a card that is the CPU."""
    fused = ModuleType("jina_clip.fused")
    exec(body, vars(fused))  # noqa: S102
    monkeypatch.setitem(sys.modules, "jina_clip.fused", fused)
    return fused


def fused_here(dtype: torch.dtype) -> bool:
    with torch.no_grad():
        return layers.fusable(torch.zeros(2, dtype=dtype).as_subclass(OnCard))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernels_that_round_more_often_than_ours_are_no_fault(dtype, monkeypatch, caplog):
    install(monkeypatch)
    assert fused_fault(CPU, dtype) is None
    assert fused_here(dtype) and not caplog.records


@pytest.mark.parametrize(
    ("right", "wrong", "kernel"),
    [
        ("rotate_halves)(x", "rotate_pairs)(x", "turn_kernel"),
        ("if pairs else", "if not pairs else", "turn_kernel"),
        ("(x, cos, sin)", "(x, cos, -sin)", "turn_kernel"),
        ("(x, cos, sin)\n", "(x[:-1], cos[:-1], sin[:-1])\n", "turn_kernel"),  # the last token
        ("F.silu(gate)", "F.gelu(gate)", "swiglu_norm_kernel"),
        ("[..., :hidden]", "[..., 1:hidden + 1]", "swiglu_norm_kernel"),
        ("return F.pad(", "return 1 + 0 * F.pad(", "swiglu_norm_kernel"),
        ("F.gelu(gate) *", "F.gelu(gate, approximate='tanh') * 1.03 *", "gated_gelu_kernel"),
        ("return x + y, ", "return x, ", "add_norm_kernel"),
        ("norm(x + y)", "norm(x)", "add_norm_kernel"),
        ("norm(x + y)", "norm(x + y) * torch.nan", "add_norm_kernel"),
        ("norm(x + y)", "torch.zeros(3)", "add_norm_kernel"),
        ('(F.linear(x, weight, bias), approximate="tanh")', "(x @ weight.T)", GELU),
        ('gelu(F.linear(x, weight, bias), approximate="tanh")', "relu(x @ weight.T + bias)", GELU),
    ],
)
def test_a_kernel_that_is_wrong_is_named_once_and_torch_does_the_work(
    right: str, wrong: str, kernel: str, monkeypatch, caplog
):
    body = TOY.replace(right, wrong)
    assert body != TOY
    install(monkeypatch, body)
    for _ in range(3):
        assert not fused_here(torch.bfloat16)
    (record,) = caplog.records
    assert "bfloat16 on cpu is left to torch" in record.getMessage()
    assert f"{kernel}: on a small input it" in record.getMessage()


def test_kernels_that_do_not_import_or_start_are_told_with_what_was_said(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "jina_clip.fused", None)  # as where Triton has no build
    assert "the package triton cannot be imported: ModuleNotFoundError" in str(
        fused_fault(CPU, torch.bfloat16)
    )
    fused = install(monkeypatch)

    def broken(*arguments: object, **options: object) -> None:
        raise OSError("the driver is older than the compiler")

    fused.__dict__["turn"] = broken
    assert not fused_here(torch.float16)
    assert "on a small input it fails: OSError: the driver is older" in caplog.text


def test_a_full_card_is_no_fault_of_the_kernels_and_is_tried_again(monkeypatch):
    """A pass that runs out of memory is halved, whether a trial or the tower asked for too much."""
    fused = install(monkeypatch)
    right, room = fused.turn, []

    def turn(*arguments, **options) -> None:
        if not room:
            raise FULL
        right(*arguments, **options)

    fused.__dict__["turn"] = turn
    with pytest.raises(torch.OutOfMemoryError):
        fused_here(torch.bfloat16)
    room.append("enough")
    assert fused_here(torch.bfloat16)


def test_kernels_are_tried_once_and_never_where_none_would_be_used(monkeypatch):
    fused = install(monkeypatch)
    right, calls = fused.gated_gelu, []
    fused.__dict__["gated_gelu"] = lambda x: calls.append(x.dtype) or right(x)
    layers.fusable(torch.zeros(2))  # on a CPU
    layers.fusable(torch.zeros(2).as_subclass(OnCard))  # with gradients
    assert not calls
    for dtype in (torch.bfloat16, torch.float16, torch.bfloat16):
        assert fused_here(dtype)
    assert calls == [torch.bfloat16, torch.float16]


def test_what_should_come_out_is_what_the_layers_compute(monkeypatch):
    """The oracle is written apart from the layers: their plain code agrees to float32's last bits."""
    fused = install(monkeypatch)
    with torch.inference_mode():
        for trial in fused_trial.trials(fused, CPU, torch.float32):
            torch.testing.assert_close(trial.compute(), trial.plain, atol=2e-6, rtol=1e-5)
