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

from benchmarks.meter import Meter
from evals.packages import packages
from evals.records.provenance import host, source_state, utc

RESULTS = Path(__file__).parent / "results"


class Lap(NamedTuple):
    """One contender over all rounds: seconds of each, and the peak of memory above what was there before (MB).

    `watts` is the mean power of the card over the rounds, None where nothing tells it.
    """

    seconds: list[float]
    peak_mb: float
    watts: float | None = None

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
        help="where the result goes; benchmarks/results/ unless given, and there in a folder per day and card on cuda",
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
    watts: dict[str, list[float]] = {name: [] for name in contenders}
    outputs: dict[str, Any] = {}
    with Meter(device) as meter:
        for _ in range(rounds):
            for name, run in contenders.items():
                outputs.pop(name, None)
                gc.collect()
                _synchronise(device)
                start = time.perf_counter()
                outputs[name] = run()
                _synchronise(device)
                end = time.perf_counter()
                seconds[name].append(end - start)
                power = meter.mean(start, end).watts
                if power is not None:  # else the round was too short to be seen
                    watts[name].append(power)
    laps = {}
    for name, powers in watts.items():
        mean = sum(powers) / len(powers) if powers else None
        laps[name] = Lap(seconds[name], peaks[name], mean)
    return laps, outputs


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
        "command": " ".join(["python -m", f"benchmarks.{name}", *_without_output(sys.argv[1:])]),
        "date": utc(time.time()),
        "machine": host() | {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 2)},
        "packages": packages(),
        "source": source_state(),
        "conditions": dict(conditions),
        "cases": {
            case: {who: _lap_json(lap) for who, lap in some.items()}
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
    if ratios:
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
    out = args.json or usual_output(name, args, result["machine"]["accelerator"])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(_finite(result), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"\nwrote {out}")
    if not agree:
        sys.exit("the outputs differ: this result counts for nothing")


def usual_output(name: str, args: argparse.Namespace, accelerator: str | None) -> Path:
    """The file of a result: a card's are kept by day and card, those of a CPU replace what is there."""
    device = args.device.partition(":")[0]
    file = f"{name}-{device}{'-small' if args.small else ''}.json"
    if device == "cpu" or accelerator is None:
        return RESULTS / file
    card = "-".join(accelerator.lower().removeprefix("nvidia ").split())
    return RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{card}" / file


def _lap_json(lap: Lap) -> dict[str, Any]:
    power = {} if lap.watts is None else {"watts": round(lap.watts, 1)}
    seconds = [round(second, 6) for second in lap.seconds]
    return {"seconds": seconds, "best": round(lap.best, 6), "peak_mb": lap.peak_mb, **power}


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their cells: names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def _without_output(arguments: Sequence[str]) -> list[str]:
    """Arguments but for --json OUT: where the result went is this machine's affair."""
    kept = [argument for argument in arguments if not argument.startswith("--json=")]
    if "--json" in kept:
        at = kept.index("--json")
        del kept[at : at + 2]
    return kept


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
