"""The Triton kernels compute what the plain code computes, in their interpreter, and compile for the GPUs of the field."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton has no build for this platform"
)

CHECKS = {
    "vision": """
        x = torch.randn(2, 17, 3, 5, 8).to(dtype)
        cos, sin = (t[:, None, None] for t in rope_2d(4, 4, 8, False, x.device))
        want = x.clone()
        rotate_pairs(want[:, :, :2], cos, sin)
        fused.turn(x[:, :, :2], cos, sin, step=2, offset=1)
        close(x, want)
    """,
    "text": """
        x = torch.randn(9, 3, 20, 12).to(dtype)
        cos, sin = (t[torch.tensor([0, 1, 2, 3, 0, 1, 0, 1, 2]), None, None] for t in rope_1d(4, 12, 10000.0, x.device))
        want = x.clone()
        rotate_halves(want[:, :2], cos, sin)
        fused.turn(x[:, :2], cos, sin, step=1, offset=6)
        close(x, want)
    """,
    "gate": """
        for align in (1, 8):
            layer = SwiGlu(6, 11, 1e-6, align).to(dtype)
            torch.nn.init.normal_(layer.ffn_ln.weight), torch.nn.init.normal_(layer.ffn_ln.bias)
            both = layer.w12(torch.randn(3, 5, 6).to(dtype))
            gate, value = both.float().chunk(2, dim=-1)
            norm = layer.ffn_ln.float()
            want = norm((F.silu(gate) * value)[..., :11])
            found = fused.swiglu_norm(both, layer.ffn_ln.to(dtype))
            assert not found[..., 11:].any()
            close(found[..., :11], want)
    """,
    "layout": """
        cos, sin = (t[:, None, None] for t in rope_2d(4, 4, 8, False, torch.device("cpu")))
        for wrong in (torch.randn(2, 17, 2, 5, 8), torch.randn(2, 16, 3, 5, 8)[:, :, :2]):
            try:
                fused.turn(wrong, cos, sin, step=2, offset=1)
            except ValueError as error:
                assert "do not fit" in str(error)
            else:
                raise AssertionError(wrong.shape)
    """,
}
HEAD = """
import sys, textwrap
import torch, torch.nn.functional as F
from jina_clip import fused
from jina_clip.layers import SwiGlu, rope_1d, rope_2d, rotate_halves, rotate_pairs
torch.manual_seed(0)
dtype = getattr(torch, sys.argv[1])
def close(found, want):
    one = 1e-5 if dtype == torch.float32 else 2 ** -7  # a rounding to bfloat16
    apart = (found.float() - want.float()).abs()
    assert (apart <= one * (1 + want.float().abs())).all(), apart.max()
exec(textwrap.dedent(sys.argv[2]))
"""
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from jina_clip.fused import swiglu_norm_kernel, turn_kernel
for capability in (80, 90):
    for kind in ("bf16", "fp16", "fp32"):
        sizes = dict(HALF=32, STEP=2, OFFSET=1, BLOCK_V=32, BLOCK_C=32)
        types = {"x": f"*{kind}", "cos": "*fp32", "sin": "*fp32", "row_stride": "i32", "table_rows": "i32", "vectors": "i32"}
        turn = ASTSource(turn_kernel, types | {name: "constexpr" for name in sizes}, sizes)
        types = {name: f"*{kind}" for name in ("x", "weight", "bias", "out")}
        types |= {"hidden": "i32", "padded": "i32", "eps": "fp32", "BLOCK": "constexpr"}
        norm = ASTSource(swiglu_norm_kernel, types, {"BLOCK": 4096})
        for source in (turn, norm):
            assert triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
"""


def python(*arguments: str, **env: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", *arguments],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_the_interpreter_a_kernel_equals_the_plain_code(check, dtype):
    python(HEAD, dtype, CHECKS[check], TRITON_INTERPRET="1")


def test_the_kernels_compile_for_the_gpus_of_the_field(tmp_path):
    python(COMPILE, TRITON_CACHE_DIR=str(tmp_path))
