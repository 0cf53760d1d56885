"""What this device can do at best: matrix products by dtype, copies within its memory and to it: python -m benchmarks.ceilings.

The limits by which the other benchmarks are read, with the power that the card draws at each, where nvidia-smi tells it.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Lap, finish, parse, race

TIMES = {"cuda": 20, "cpu": 4}  # of each, in one lap


def main() -> None:
    """A square product in each dtype, a copy on the device, and one from pinned memory to it."""
    args = parse(__doc__ or "")
    import torch

    torch.manual_seed(0)
    cuda = args.device.startswith("cuda")
    size = 8192 if cuda else 2048
    length = 2**30 if cuda else 2**27
    times = TIMES["cuda" if cuda else "cpu"]
    dtypes = ("bfloat16", "float16", "float32") if cuda else ("float32",)
    contenders = {f"product, {dtype}": _product(args, dtype, size, times) for dtype in dtypes}
    contenders["copy"] = _copy(args, length, times)
    if cuda:
        contenders["from pinned memory"] = _upload(args, length // 4, times)
    with torch.inference_mode():
        laps, outputs = race(contenders, rounds=args.rounds, device=args.device)
    figures: dict[str, Any] = {}
    for dtype in dtypes:
        best = laps[f"product, {dtype}"].best / times
        figures[f"{dtype}, TFLOP/s"] = 2 * size**3 / best / 1e12
    # A copy reads each byte and writes it.
    figures["copy, GB/s"] = 2 * length / (laps["copy"].best / times) / 1e9
    if cuda:
        figures["from pinned memory, GB/s"] = (
            length // 4 / (laps["from pinned memory"].best / times) / 1e9
        )
    figures |= power_figures(laps)
    finish(
        "ceilings",
        args,
        conditions={
            "products": f"{size} x {size} x {size}, random; float32 without TF32",
            "copies": f"{length:,} bytes",
            "a lap": f"{times} of each, queued without waiting",
        },
        laps={"the device": laps},
        ratios={},
        differences={
            f"{dtype}: a corner of the product": (outputs[f"product, {dtype}"], allowed)
            for dtype, allowed in {"bfloat16": 2e-2, "float16": 2e-3, "float32": 1e-4}.items()
            if dtype in dtypes
        },
        figures=figures,
    )


def power_figures(laps: dict[str, Lap]) -> dict[str, float]:
    """The mean power of each contender that ran long enough to be seen."""
    return {f"{name}, W": lap.watts for name, lap in laps.items() if lap.watts is not None}


def _product(args: argparse.Namespace, dtype: str, size: int, times: int) -> Callable[[], float]:
    import torch

    kind = getattr(torch, dtype)
    a, b = (torch.randn(size, size, device=args.device, dtype=kind) for _ in range(2))
    out = torch.empty_like(a)

    def run() -> float:
        for _ in range(times):
            torch.mm(a, b, out=out)
        exact = a[:8].double() @ b[:, :8].double()
        return float((out[:8, :8].double() - exact).abs().max() / exact.abs().max())

    return run


def _copy(args: argparse.Namespace, length: int, times: int) -> Callable[[], None]:
    import torch

    source = torch.zeros(length, dtype=torch.uint8, device=args.device)
    target = torch.empty_like(source)

    def run() -> None:
        for _ in range(times):
            target.copy_(source)

    return run


def _upload(args: argparse.Namespace, length: int, times: int) -> Callable[[], None]:
    import torch

    source = torch.zeros(length, dtype=torch.uint8, pin_memory=True)
    target = torch.empty(length, dtype=torch.uint8, device=args.device)

    def run() -> None:
        for _ in range(times):
            target.copy_(source, non_blocking=True)

    return run


if __name__ == "__main__":
    main()
