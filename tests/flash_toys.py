"""Packages of the names flash-attn and flash-attn-4 that compute plain attention on a CPU, for tests.

Their functions take what the real ones take (flash-attn 2.8.3, flash-attn-4 4.0.0b36, as read), in
their order, and refuse the rest.
"""

import importlib
from pathlib import Path

# Both: attention by its definition over one text and head after the other.
PLAIN = """
import torch

def plain(q, k, v, ends, score):
    mixed = torch.empty_like(q)
    for text, (start, stop) in enumerate(zip(ends.tolist(), ends.tolist()[1:])):
        place = torch.arange(stop - start)
        for head in range(q.shape[1]):
            part = slice(start, stop), head
            scores = q[part].float() @ k[part].float().T / q.shape[2] ** 0.5
            scores = score(scores, text, head, place[:, None], place[None, :])
            mixed[part] = (scores.softmax(1) @ v[part].float()).to(q.dtype)
    return mixed
"""
FLASH_2 = (
    PLAIN
    + """
def flash_attn_varlen_func(q, k, v, ends, key_ends, longest, longest_key, *, alibi_slopes=None):
    assert ends is key_ends and longest == longest_key == max(ends.diff())

    def score(scores, text, head, query, key):
        return scores if alibi_slopes is None else scores - alibi_slopes[head] * (query - key).abs()

    return plain(q, k, v, ends, score)
"""
)
FLASH_4 = (
    PLAIN
    + """
def flash_attn_varlen_func(
    q, k, v, qv=None, cu_seqlens_q=None, cu_seqlens_k=None, max_seqlen_q=None, max_seqlen_k=None,
    *, score_mod=None, aux_tensors=None,
):
    assert qv is None and cu_seqlens_q is cu_seqlens_k
    assert max_seqlen_q == max_seqlen_k == max(cu_seqlens_q.diff())

    def score(scores, text, head, query, key):
        if score_mod is None:
            return scores
        text, head = torch.tensor([text]), torch.tensor([head])
        return score_mod(
            scores, text, head, q_idx=query, kv_idx=key, seqlen_info=None, aux_tensors=aux_tensors
        )

    return plain(q, k, v, cu_seqlens_q, score), None
"""
)
CUTLASS = "import torch\nFloat32 = torch.float32\n"
CUTE = """
import torch
from torch import where

class Registers:
    def __init__(self, size, dtype):
        self.values = torch.empty(size, dtype=dtype)

    def __setitem__(self, at, value):
        self.values[at] = value

    def load(self):
        return self.values

make_rmem_tensor = Registers

def jit(function):
    return function
"""


def package(folder: Path, module: str, body: str) -> None:
    """Write a package of Python, `a.b` as `a/b`; a folder above it stays without a file."""
    place = folder.joinpath(*module.split("."))
    place.mkdir(parents=True, exist_ok=True)
    (place / "__init__.py").write_text(body)
    importlib.invalidate_caches()


def distribution(folder: Path, name: str, version: str) -> None:
    """Let importlib.metadata find a package of this version."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def install_flash_2(folder: Path, body: str = FLASH_2, version: str | None = "2.8.3") -> None:
    """flash-attn 2; without a version as a folder on the path has none."""
    package(folder, "flash_attn", body)
    if version is not None:
        distribution(folder, "flash-attn", version)


def install_flash_4(folder: Path, body: str = FLASH_4, version: str | None = "4.0.0b36") -> None:
    """flash-attn-4, which has no file above its folder `cute`, with its compiler."""
    package(folder, "flash_attn.cute", body)
    package(folder, "cutlass", CUTLASS)
    package(folder, "cutlass.cute", CUTE)
    distribution(folder, "nvidia-cutlass-dsl", "4.8.1")
    if version is not None:
        distribution(folder, "flash-attn-4", version)
