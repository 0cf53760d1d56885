"""The Triton kernels compute what the plain code computes, in their interpreter, and compile for the GPUs of the field."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton has no build for this platform"
)

DTYPES = ("float32", "bfloat16")
CHECKS = {
    "vision": """
        x = torch.randn(2, 17, 3, 5, 8).to(dtype)
        cos, sin = (t[:, None, None] for t in rope_2d(4, 4, 8, False, x.device))
        want = x.clone()
        rotate_pairs(want[:, :, :2], cos, sin)
        fused.turn(x[:, :, :2], cos, sin, pairs=True)
        close(x, want)
    """,
    "text": """
        x = torch.randn(9, 3, 20, 12).to(dtype)
        cos, sin = (t[torch.tensor([0, 1, 2, 3, 0, 1, 0, 1, 2]), None, None] for t in rope_1d(4, 12, 10000.0, x.device))
        want = x.clone()
        rotate_halves(want[:, :2], cos, sin)
        fused.turn(x[:, :2], cos, sin, pairs=False)
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
    "gelu": """
        layer = GluMlp(6, 1100).to(dtype)  # wider than a program's piece
        both = layer.gated_layers(torch.randn(3, 5, 6).to(dtype))
        gate, value = both.float().chunk(2, dim=-1)
        close(fused.gated_gelu(both), F.gelu(gate) * value)
    """,
    "epilogue": """
        from jina_clip import layers
        layers.fusable = lambda x: True
        taken = []
        multiply = fused.linear_gelu
        fused.linear_gelu = lambda *args: taken.append(1) or multiply(*args)
        layer = layers.Mlp(6, 11).to(dtype)
        x = torch.randn(3, 5, 6).to(dtype)
        with torch.no_grad():
            found = layer.fc1(x, activation="gelu")
            want = F.gelu(F.linear(x.float(), layer.fc1.weight.float(), layer.fc1.bias.float()))
            close(found, want)
            assert len(taken) == (dtype == torch.bfloat16)  # elsewhere GELU stays exact
            layer.fc1(x)
            layer.to(torch.float16)(x.half())
            assert len(taken) == (dtype == torch.bfloat16)
    """,
    "residual": """
        norm = torch.nn.LayerNorm(24).to(dtype)
        torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
        for x in (torch.randn(7, 24).to(dtype), torch.randn(3, 5, 24).to(dtype)[:, :2]):
            y = torch.randn(x.shape).to(dtype)
            total = torch.empty_like(y)
            kept, normed = fused.norm_of_sum(x, y, norm, total)
            assert kept is total
            close(total, x + y)
            # of the sum as it was rounded: the interpreter cuts bits off where a card rounds
            want = F.layer_norm(total.float(), (24,), norm.weight.float(), norm.bias.float())
            close(normed, want)
            assert torch.equal(fused.norm_of_sum(x, y, norm)[1], normed)
    """,
    "autocast": """
        from jina_clip import layers
        layers.fusable = lambda x: True
        norm = torch.nn.LayerNorm(24)
        x, y = torch.randn(7, 24), torch.randn(7, 24).to(dtype)
        total, normed = layers.sum_and_norm(x, y, norm)
        assert torch.equal(total, x + y)
        close(normed, norm(x + y))
        assert layers.norm_of_sum(x, y, norm).dtype == torch.float32
    """,
    "attention": """
        from itertools import accumulate
        from jina_clip.attention import alibi_attention, alibi_slopes
        from jina_clip.fused_attention import attend_texts
        lengths = [1, 40, 16, 17, 200, 64, 3, 129, 65, 33, 16]  # all classes, at their limits and not
        ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        qkv = torch.randn(sum(lengths), 3, 3, 16).to(dtype)
        for slopes in (None, alibi_slopes(3)):
            bias = None if slopes is None else torch.tensor(slopes)
            mixed = attend_texts(lengths, ends, bias, lambda x: x)(qkv)
            assert mixed.shape == (sum(lengths), 48) and mixed.dtype == dtype
            for start, length in zip(ends, lengths):
                q, k, v = qkv[start : start + length].float().permute(1, 2, 0, 3)[:, None]
                want = (
                    F.scaled_dot_product_attention(q, k, v)
                    if slopes is None
                    else alibi_attention(q, k, v, slopes)
                )
                close(mixed[start : start + length], want[0].transpose(0, 1).flatten(1))
                alone = attend_texts([length], torch.tensor([0, length], dtype=torch.int32), bias, lambda x: x)
                assert torch.equal(alone(qkv[start : start + length]), mixed[start : start + length])
        # what a card compares before it takes the kernel
        from jina_clip.attention_backends import trial_fault
        for slopes in (None, tuple(alibi_slopes(3))) if dtype == torch.float16 else ():
            fault = trial_fault("triton", 3, 16, slopes, torch.device("cpu"), dtype)
            assert fault is None, fault
    """,
    "trial": """
        from jina_clip.fused_trial import fused_fault  # what a card compares before it takes them
        fault = fused_fault(torch.device("cpu"), dtype)
        assert fault is None, fault
    """,
    "layout": """
        cos, sin = (t[:, None, None] for t in rope_2d(4, 4, 8, False, torch.device("cpu")))
        for wrong in (torch.randn(2, 17, 2, 5, 8), torch.randn(2, 16, 3, 5, 8)[:, :, :2]):
            try:
                fused.turn(wrong, cos, sin, pairs=True)
            except ValueError as error:
                assert "do not fit" in str(error)
            else:
                raise AssertionError(wrong.shape)
    """,
}
# Each check has a fork of its own, for some change what others use; torch and Triton are loaded once.
HEAD = """
import json, os, sys, textwrap, traceback
import torch, torch.nn.functional as F
from jina_clip import fused
from jina_clip.layers import GluMlp, SwiGlu, rope_1d, rope_2d, rotate_halves, rotate_pairs
def close(found, want):
    one = 1e-5 if dtype == torch.float32 else 2 ** -7  # a rounding to bfloat16
    apart = (found.float() - want.float()).abs()
    assert (apart <= one * (1 + want.float().abs())).all(), apart.max()
for name, (kind, code) in json.loads(sys.argv[1]).items():
    child = os.fork()
    if not child:
        dtype = getattr(torch, kind)
        torch.manual_seed(0)
        try:
            exec(textwrap.dedent(code))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(name, os.waitpid(child, 0)[1], flush=True)
"""
COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from jina_clip import fused, fused_attention
pointers = {"x", "y", "weight", "bias", "out", "total", "qkv"}
kernels = {
    "turn_kernel": dict(HALF=32, PAIRS=True, BLOCK_V=32, BLOCK_C=32),
    "swiglu_norm_kernel": dict(BLOCK=4096),
    "gated_gelu_kernel": dict(BLOCK=1024),
    "add_norm_kernel": dict(KEEP=True, BLOCK=1024),
    "attend_kernel": dict(D=64, ALIBI=True, QUERIES=128, KEYS=64),
}
def type_of(name, kind):
    if name in ("cos", "sin", "slopes"):
        return "*fp32"
    if name in ("ends", "blocks"):
        return "*i32"
    return f"*{kind}" if name in pointers else "fp32" if name in ("eps", "scale") else "i32"
for name, constants in kernels.items():
    kernel = getattr(fused, name, None) or getattr(fused_attention, name)
    # the compiler's work differs by the size of a number, and attention takes half precision alone
    for kind in ("bf16",) if name == "attend_kernel" else ("bf16", "fp32"):
        types = {n: "constexpr" if n in constants else type_of(n, kind) for n in kernel.arg_names}
        target = GPUTarget("cuda", int(sys.argv[1]), 32)
        assert triton.compile(ASTSource(kernel, types, constants), target=target).asm["cubin"]
"""


def python(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-c", *arguments],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def checked() -> "subprocess.CompletedProcess[str]":
    """The checks in the interpreter; stdout has the name and the status of each, stderr what failed."""
    checks = {}
    for dtype in DTYPES:
        for name, code in CHECKS.items():
            # Triton 3.6's interpreter multiplies matrices of the bits of bfloat16, not of its values.
            kind = "float16" if (name, dtype) == ("attention", "bfloat16") else dtype
            checks[f"{name}-{dtype}"] = (kind, code)
    return python(HEAD, json.dumps(checks), TRITON_INTERPRET="1")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_in_the_interpreter_a_kernel_equals_the_plain_code(checked, check, dtype):
    statuses = dict(line.split() for line in checked.stdout.splitlines())
    assert statuses[f"{check}-{dtype}"] == "0", checked.stderr


@pytest.mark.parametrize("capability", ["80", "90", "100"])  # A100, H100, B200
def test_the_kernels_compile_for_the_gpus_of_the_field(capability, tmp_path):
    python(COMPILE, capability, TRITON_CACHE_DIR=str(tmp_path))
