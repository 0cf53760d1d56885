"""What only a CUDA card can show: towers and ranks on it are those of the CPU, and memory that runs out loses nothing.

Skipped where there is no card. They were written without one (docs/performance.md).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evals.ranking.kernel_trial import COUNTING, SEARCHING, kernel_fault
from evals.ranking.ranks import cross_ranks
from evals.ranking.relevance import Relevant
from jina_clip import JinaCLIP
from jina_clip.budget import Budget
from tests.ranking import random_rows, same

pytestmark = pytest.mark.gpu

WORDS = "the cat sits on a red dog under blue runs".split()


def texts(n: int, longest: int) -> list[str]:
    """Texts of 1 to `longest` words."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, size=1 + i % longest)) for i in range(n)]


def pictures(n: int) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(n)]


def furthest(rows: np.ndarray, expected: np.ndarray) -> float:
    """1 - cosine of the pair of unit rows that are furthest apart."""
    return float(1 - (rows.astype(np.float64) * expected).sum(axis=1).min())


# Towers


@pytest.mark.parametrize("version", ["checkpoint", "checkpoint_v1"])
@pytest.mark.parametrize(
    # An H200 gave 1.3e-4 of full-size towers in bfloat16, and 3e-12 in float32 (finding 1 of
    # 2026-11-27); these have few layers and few channels.
    ("dtype", "allowed"),
    [("float32", 1e-6), ("bfloat16", 2e-3), ("float16", 1e-4)],
)
def test_towers_on_a_card_give_the_rows_of_float32_on_a_cpu(
    version: str, dtype: str, allowed: float, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(version)
    on_cpu = JinaCLIP.from_pretrained(folder, device="cpu", dtype="float32")
    on_card = JinaCLIP.from_pretrained(folder, device="cuda", dtype=dtype)
    sentences, images = texts(40, 150), pictures(5)
    assert furthest(on_card.encode_text(sentences), on_cpu.encode_text(sentences)) < allowed
    assert furthest(on_card.encode_image(images), on_cpu.encode_image(images)) < allowed


def test_a_text_alone_has_the_row_that_it_has_among_others(checkpoint: Path) -> None:
    """To within a rounding of bfloat16: cuBLAS takes other kernels for few tokens."""
    model = JinaCLIP.from_pretrained(checkpoint, device="cuda", dtype="bfloat16")
    sentences = texts(30, 70)
    together = model.encode_text(sentences)
    alone = np.concatenate([model.encode_text([sentence]) for sentence in sentences])
    assert furthest(together, alone) < 2e-3


# Memory


@pytest.fixture
def small_card() -> Iterator[None]:
    """64 MB more than the process holds: no pass can take what the budgets below allow."""
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    held = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((held + 2**26) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.fixture
def loaded(checkpoint: Path) -> JinaCLIP:
    """A model whose kernels are compiled and whose libraries have the memory that they work in."""
    model = JinaCLIP.from_pretrained(checkpoint, device="cuda", dtype="bfloat16")
    model.encode_text(texts(40, 150))
    return model


def test_out_of_memory_halves_a_pass_of_texts_and_loses_none(
    loaded: JinaCLIP, small_card: None
) -> None:
    # 4,000 texts of 200 words are 800,000 tokens of 32 channels; queries, keys and values alone
    # take 150 MB.
    sentences = texts(40, 200)[-1:] * 4000
    loaded.budgets["tokens"] = Budget(2**21, "tokens")
    rows = loaded.encode_text(sentences)
    assert len(loaded.budgets["tokens"].used) > 1
    assert rows.shape == (4000, 32) and np.isfinite(rows).all()
    assert furthest(rows, np.repeat(loaded.encode_text(sentences[:1]), 4000, axis=0)) < 2e-3


def test_passes_as_cuda_graphs_give_the_rows_of_plain_passes(checkpoint: Path) -> None:
    plain, graphed = (
        JinaCLIP.from_pretrained(checkpoint, device="cuda", dtype="bfloat16", cuda_graphs=graphs)
        for graphs in (False, True)
    )
    for model in (plain, graphed):
        model.set_budget("images", 4)
    assert np.array_equal(graphed.encode_image(pictures(18)), plain.encode_image(pictures(18)))
    assert graphed._graphed is not None and list(graphed._graphed._replays) == [4]


def test_products_of_8_bits_run_on_a_card_that_has_them(checkpoint: Path) -> None:
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("takes a card of compute capability 8.9")
    on_card, on_cpu = (
        JinaCLIP.from_pretrained(checkpoint, device=device, dtype="float8").encode_text(["the cat"])
        for device in ("cuda", "cpu")
    )
    assert float((on_card * on_cpu).sum()) > 0.999


# Ranks


def check_names() -> list[str]:
    """The checks of Triton's kernels; none where Triton has no build."""
    try:
        from tests.kernel_checks import CHECKS
    except ImportError:
        return []
    return list(CHECKS)


@pytest.mark.parametrize("check", check_names())
def test_kernels_on_a_card_give_the_ranks_of_the_cpu(check: str) -> None:
    from tests.kernel_checks import CHECKS

    CHECKS[check]("cuda")


def test_a_card_counts_by_kernels_as_the_cpu_does_in_the_memory_of_a_block() -> None:
    pytest.importorskip("triton")
    assert kernel_fault(COUNTING, "cuda") is None and kernel_fault(SEARCHING, "cuda") is None
    images, captions = random_rows(2_000, 96, 0), random_rows(70_000, 96, 1)
    captions[10_000:10_100] = captions[10_000]
    t2i = Relevant.single(np.arange(70_000) % 2_000)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    on_card = cross_ranks(images, captions, t2i, device="cuda")
    # All scores would take 560 MB; a block of 960 x 32,768 takes 126 MB, the rows 28 MB.
    assert torch.cuda.max_memory_allocated() - held < 400e6
    on_cpu = cross_ranks(images, captions, t2i)
    assert same(on_card.t2i, on_cpu.t2i) and same(on_card.i2t, on_cpu.i2t)
