"""An attention kernel is taken where it imports, has a version, and agrees with plain attention; else refused with the reason."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jina_clip import V1, V2, attention_backends
from jina_clip.attention import WINDOW, alibi_slopes
from jina_clip.attention_backends import (
    TRIAL_LENGTHS,
    import_fault,
    recorded_attention,
    resolve_attention,
    trial_fault,
)
from jina_clip.config import ClipConfig
from jina_clip.text import TextTower
from tests.flash_toys import FLASH_2, FLASH_4, install_flash_2, install_flash_4
from tests.test_packing import CPU, SIZES
from tests.test_towers import text_config

CARD = torch.device("cuda"), torch.bfloat16
OURS = "jina_clip.flash_attn_4"  # it holds the package that was there when it was imported
REAL_TRIAL = trial_fault.__wrapped__


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, *broken: str) -> None:
    """As if there were one, whose kernels run but for those named."""
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(
        attention_backends,
        "trial_fault",
        lambda name, *arguments: "its library is for another driver" if name in broken else None,
    )


def forget_packages() -> None:
    import_fault.cache_clear()
    for name in list(sys.modules):
        if name == OURS or name.partition(".")[0] in ("flash_attn", "cutlass"):
            del sys.modules[name]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where packages may be installed for a card that is the CPU; of ours Triton's kernel is broken."""
    on_a_gpu(monkeypatch)

    def trial(name, heads, head_width, slopes, device, dtype):
        if name in ("triton", "varlen"):
            return "its library is for another driver"
        return REAL_TRIAL(name, heads, head_width, slopes, CPU, dtype)

    monkeypatch.setattr(attention_backends, "trial_fault", trial)
    monkeypatch.syspath_prepend(tmp_path)
    forget_packages()
    yield tmp_path
    forget_packages()


def test_auto_goes_on_where_a_kernel_does_not_run(monkeypatch, caplog):
    caplog.set_level("INFO", "jina_clip")
    on_a_gpu(monkeypatch, "triton")
    assert resolve_attention("auto", V2.text, *CARD) == "varlen"
    assert "not triton: its library is for another driver" in caplog.text
    # v1 has ALiBi, and no flash-attn is here
    assert resolve_attention("auto", V1.text, *CARD) == "sdpa"
    with pytest.raises(ValueError, match="triton' cannot run: its library"):
        resolve_attention("triton", V1.text, *CARD)


# The packages of flash attention


@pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("install", "backend", "recorded"),
    [
        (install_flash_2, "flash_attn", "flash_attn-2.8.3"),
        (install_flash_4, "flash_attn_4", "flash_attn_4-4.0.0b36+nvidia-cutlass-dsl-4.8.1"),
    ],
)
def test_either_package_is_taken_that_gives_plain_attention_with_alibi_or_without(
    config: ClipConfig, install, backend: str, recorded: str, site: Path
):
    install(site)
    assert resolve_attention("flash_attn", config.text, *CARD) == backend
    assert resolve_attention("auto", config.text, *CARD) == backend
    # as the encoder hands on what it has resolved
    assert resolve_attention(backend, config.text, *CARD) == backend
    assert recorded_attention(backend) == recorded


def test_of_both_packages_the_older_is_taken(site):
    install_flash_2(site)
    install_flash_4(site)
    assert resolve_attention("flash_attn", V1.text, *CARD) == "flash_attn"
    assert resolve_attention("flash_attn_4", V1.text, *CARD) == "flash_attn_4"


def test_the_newer_package_is_taken_where_the_older_is_wrong_and_the_log_says_so(site, caplog):
    caplog.set_level("INFO", "jina_clip")
    install_flash_2(site, FLASH_2.replace("- alibi_slopes[head]", "+ alibi_slopes[head]"))
    install_flash_4(site)
    assert resolve_attention("flash_attn", V1.text, *CARD) == "flash_attn_4"
    assert "not flash_attn: on a small input its numbers are not those" in caplog.text


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("@ v[part]", "@ k[part]"),
        ("q.shape[2] ** 0.5", "q.shape[2] ** 0.49"),
        ("aux_tensors=aux_tensors", "aux_tensors=[1.02 * aux_tensors[0]]"),
        ("q_idx=query", "q_idx=query + 128 * (query > 127)"),  # as if counted by blocks
        ("scores.softmax(1)", "scores.tril().softmax(1)"),
        ("plain(q, k, v, cu_seqlens_q, score), None", "torch.full_like(q, torch.nan)"),
        ("plain(q, k, v, cu_seqlens_q, score), None", "q[:1]"),
        ("assert qv is None", "raise RuntimeError('no kernel for this card')"),
    ],
)
def test_a_package_that_gives_other_numbers_is_refused_by_name_and_passed_over_by_auto(
    right: str, wrong: str, site: Path
):
    """Whichever of both sides changed its mind about the interface."""
    body = FLASH_4.replace(right, wrong)
    assert body != FLASH_4
    install_flash_4(site, body)
    reason = "flash-attn is not installed.*; on a small input it"
    with pytest.raises(ValueError, match=reason):
        resolve_attention("flash_attn", V1.text, *CARD)
    assert resolve_attention("auto", V1.text, *CARD) == "sdpa"


@pytest.mark.parametrize(
    ("install", "package"),
    [(install_flash_2, "flash-attn"), (install_flash_4, "flash-attn-4")],
)
def test_a_package_of_unknown_version_is_refused_since_rows_are_stored_with_it(
    install, package: str, site: Path
):
    install(site, version=None)
    with pytest.raises(ValueError, match=f"version of {package} is unknown"):
        resolve_attention("flash_attn", V2.text, *CARD)
    assert resolve_attention("auto", V2.text, *CARD) == "sdpa"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import flash_attn_2_cuda", "flash_attn_varlen_func of the package flash-attn cannot be"),
        ("", "cannot be imported: AttributeError"),
        (
            "raise OSError('libcudart.so.11: no such file')",
            "cannot be imported: OSError: libcudart",
        ),
        ("raise RuntimeError('no driver')", "cannot be imported: RuntimeError: no driver"),
    ],
)
def test_a_package_that_is_installed_and_does_not_import_is_told_with_the_reason(
    body: str, reason: str, site: Path
):
    install_flash_2(site, body)
    with pytest.raises(ValueError, match=reason):
        resolve_attention("flash_attn", V1.text, *CARD)
    assert resolve_attention("auto", V1.text, *CARD) == "sdpa"


def test_the_folder_of_the_newer_package_alone_is_not_the_older_package(site):
    install_flash_4(site, "raise RuntimeError('no driver')")
    reason = r"flash-attn is not installed \(pip .*flash_attn.cute.* cannot .*: no driver"
    with pytest.raises(ValueError, match=reason):
        resolve_attention("flash_attn", V1.text, *CARD)


# The small input


def test_a_kernel_that_fails_on_a_small_input_is_told_with_what_it_said():
    fault = trial_fault("triton", 3, 16, None, CPU, torch.bfloat16)
    assert fault is not None and "on a small input it fails: " in fault


def test_a_full_card_says_nothing_of_a_kernel_and_no_other_is_taken(site):
    """Rows would be those of another kernel whenever the card was busy."""
    full = FLASH_2.replace(
        "    assert ends is",
        "    raise torch.OutOfMemoryError('CUDA out of memory')\n    assert ends is",
    )
    assert full != FLASH_2
    install_flash_2(site, full)
    install_flash_4(site)
    with pytest.raises(torch.OutOfMemoryError):
        resolve_attention("auto", V2.text, *CARD)


def test_the_small_input_has_a_text_for_each_block_size():
    tiles = pytest.importorskip("jina_clip.fused_attention", exc_type=ImportError).TILES
    shortest = 0
    for tile in tiles:
        assert [n for n in TRIAL_LENGTHS if shortest < n <= tile.longest], tile
        shortest = tile.longest
    assert max(TRIAL_LENGTHS) > 2 * max(tile.queries for tile in tiles)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("slopes", [None, tuple(alibi_slopes(12))], ids=["plain", "alibi"])
def test_roundings_alone_are_no_fault(dtype: torch.dtype, slopes, site: Path):
    """Softmax weights rounded to the dtype before they are multiplied, as kernels do."""
    rounded = FLASH_2.replace("scores.softmax(1) @", "scores.softmax(1).to(q.dtype).float() @")
    assert rounded != FLASH_2
    install_flash_2(site, rounded)
    assert REAL_TRIAL("flash_attn", 12, 64, slopes, CPU, dtype) is None


# What runs where


def test_on_a_gpu_auto_takes_the_kernel_of_ours_and_no_window(monkeypatch):
    on_a_gpu(monkeypatch)
    for config in (V1, V2):
        assert resolve_attention("auto", config.text, *CARD) == "triton"
    # windows stay where no kernel has blocks as short as captions
    monkeypatch.setattr(TextTower, "device", torch.device("cuda"))
    tower = TextTower(text_config("v2", **SIZES), "triton")
    assert tower.window == 0
    tower.attention = "varlen"
    assert tower.window == WINDOW


def test_auto_attention_on_a_cpu_is_sdpa():
    for config in (V1, V2):
        assert resolve_attention("auto", config.text, CPU, torch.float32) == "sdpa"


@pytest.mark.parametrize(
    ("choice", "config", "device", "dtype", "reason"),
    [
        ("triton", V1, "cpu", torch.bfloat16, "CUDA device, not cpu"),
        ("triton", V2, "cuda", torch.float32, "bfloat16 or float16, not float32"),
        ("varlen", V2, "cpu", torch.bfloat16, "CUDA device, not cpu"),
        ("varlen", V1, "cuda", torch.bfloat16, "no ALiBi"),
        ("varlen", V2, "cuda", torch.float32, "bfloat16 or float16, not float32"),
        ("flash_attn", V1, "cuda", torch.bfloat16, "flash-attn is not installed .*flash-attn-4 is"),
        ("flash_attn", V1, "cpu", torch.bfloat16, "run: it takes a CUDA device, not cpu$"),
        ("flash_attn_4", V1, "cuda", torch.bfloat16, "run: the package flash-attn-4 is not"),
        ("eager", V2, "cpu", torch.float32, "not one of auto, sdpa, triton, varlen, flash_attn"),
    ],
)
def test_an_attention_that_cannot_run_is_refused_with_the_reason(
    choice, config, device, dtype, reason, monkeypatch
):
    on_a_gpu(monkeypatch)
    with pytest.raises(ValueError, match=reason):
        resolve_attention(choice, config.text, torch.device(device), dtype)
