"""What every benchmark shares: its options, fair timing, peak memory, the table, and the JSON that keeps the result.

A benchmark is a `main()` that builds the inputs once, lets the contenders run in turn on them (`race`), checks that their
outputs agree, and ends with `finish`.
"""

import argparse
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.packages import packages
from evals.records.provenance import host, source_state, utc

RESULTS = Path(__file__).parent / "results"


class Lap(NamedTuple):
    """One contender over all rounds: seconds of each, and the peak of memory above what was there before (MB)."""

    seconds: list[float]
    peak_mb: float

    @property
    def best(self) -> float:
        """The fastest round: what the machine can do when nothing disturbs it."""
        return min(self.seconds)


def parse(
    about: str, extra: Callable[[argparse.ArgumentParser], Any] = lambda parser: None
) -> argparse.Namespace:
    """The options of every benchmark: --small, --device, --rounds, --json; `extra` adds a benchmark's own."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--small", action="store_true", help="sizes for a 2-core CPU: about a minute"
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu or cuda; on cuda the towers have full size and run in bfloat16",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="how often each contender runs; the fastest round counts",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="OUT",
        help="where the result goes; benchmarks/results/ unless given",
    )
    extra(parser)
    return parser.parse_args()


def race(
    contenders: Mapping[str, Callable[[], Any]], *, rounds: int, device: str = "cpu"
) -> tuple[dict[str, Lap], dict[str, Any]]:
    """Run the contenders in turn, `rounds` times, after one uncounted round each; also gives what each returned last.

    In turn, so that a machine that slows down slows all of them down. Memory is measured in the uncounted round.
    """
    peaks = {}
    for name, run in contenders.items():
        peaks[name] = peak_memory(run, device)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    outputs: dict[str, Any] = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            outputs.pop(name, None)
            gc.collect()
            _synchronise(device)
            start = time.perf_counter()
            outputs[name] = run()
            _synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: Lap(seconds[name], peaks[name]) for name in contenders}, outputs


def peak_memory(run: Callable[[], Any], device: str = "cpu") -> float:
    """The most memory (MB) that `run` held at once above what was there before: resident on the host, allocated on CUDA.

    NaN where the host does not tell (it takes Linux).
    """
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(
            0
        )  # what was freed before must not hide what is allocated now
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before_kb = _status_kb("VmRSS")
        run()
        return round((_status_kb("VmHWM") - before_kb) / 1e3, 1)
    except OSError:
        run()
        return float("nan")


def matmul_rates(
    device: str = "cpu", dtype: str = "float32", size: int | None = None
) -> dict[str, float]:
    """FLOP/s of a large square matmul, the best of several, by library; the fastest is the limit that towers have.

    On a CPU in float32 torch.mm is MKL's, and oneDNN may be faster.
    """
    import torch

    n = size or (8192 if device.startswith("cuda") else 2048)
    a, b = (torch.randn(n, n, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    ways: dict[str, Callable[[], Any]] = {"torch.mm": lambda: torch.mm(a, b)}
    if device == "cpu" and dtype == "float32" and torch.backends.mkldnn.is_available():
        ways["oneDNN"] = lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "none")
    rates = {}
    for name, run in ways.items():
        best = float("inf")
        for _ in range(10):
            _synchronise(device)
            start = time.perf_counter()
            run()
            _synchronise(device)
            best = min(best, time.perf_counter() - start)
        rates[name] = 2 * n**3 / best
    return rates


def finish(
    name: str,
    args: argparse.Namespace,
    *,
    conditions: Mapping[str, Any],
    laps: Mapping[str, Mapping[str, Lap]],
    ratios: Mapping[str, float],
    differences: Mapping[str, tuple[float, float]],
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Print the table, write the JSON, and exit with 1 when outputs differ: a faster wrong answer fails.

    `laps`: case to contender to lap. `ratios`: peer's time over ours, by a name that says which. `differences`: by name the
    largest difference of the outputs and the largest that passes. `figures`: whatever else was measured.
    """
    import torch

    agree = all(found <= allowed for found, allowed in differences.values())  # NaN does not pass
    result = {
        "benchmark": name,
        "command": "python -m " + " ".join([f"benchmarks.{name}", *sys.argv[1:]]),
        "date": utc(time.time()),
        "machine": host() | {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 2)},
        "packages": packages(),
        "source": source_state(),
        "conditions": dict(conditions),
        "cases": {
            case: {who: {"seconds": [round(s, 6) for s in lap.seconds], "best": round(lap.best, 6), "peak_mb": lap.peak_mb}
                   for who, lap in some.items()}
            for case, some in laps.items()
        },
        "ratios": {what: round(value, 3) for what, value in ratios.items()},
        "differences": {what: {"found": found, "allowed": allowed} for what, (found, allowed) in differences.items()},
        "agree": agree,
        "figures": dict(figures or {}),
    }  # fmt: skip
    for case, some in laps.items():
        print(f"\n{case}")
        print_table(["", "best s", "median s", "extra MB"], [
            [who, f"{lap.best:.3f}", f"{sorted(lap.seconds)[len(lap.seconds) // 2]:.3f}", f"{lap.peak_mb:,.0f}"]
            for who, lap in some.items()
        ])  # fmt: skip
    print()
    print_table(
        ["ratio (over 1: ours is faster)", ""],
        [[what, f"{value:.2f}x"] for what, value in ratios.items()],
    )
    print()
    rows = [
        [what, f"{found:.2g}", f"{allowed:.2g}"] for what, (found, allowed) in differences.items()
    ]
    print_table(["largest difference", "found", "allowed"], rows)
    for what, value in (figures or {}).items():
        print(f"{what}: {value:,.4g}" if isinstance(value, float) else f"{what}: {value}")
    out = (
        args.json
        or RESULTS / f"{name}-{args.device.partition(':')[0]}{'-small' if args.small else ''}.json"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(_finite(result), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"\nwrote {out}")
    if not agree:
        sys.exit("the outputs differ: this result counts for nothing")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their cells: names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def largest_difference(a: Any, b: Any) -> float:
    """The largest absolute difference of two arrays; infinity when their shapes differ."""
    import numpy as np

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(np.abs(a - b).max(initial=0.0)) if a.shape == b.shape else float("inf")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
