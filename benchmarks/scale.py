"""What work beyond one process and galleries beyond memory cost: python -m benchmarks.scale [--small] [--only PART].

preemption  64 processes with a sleeping encoder, by claims and by a plan; some are killed: balance, lost work
workers     `evals.run` with two workers, and with Ray where that is there, beside one process on the same cores
search      ranks of queries over a gallery on disk, beside the bare product and faiss' exact search
index       the index of a store, built from its sidecars, opened, and asked
"""

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Lap, finish, parse, race
from benchmarks.scale_preemption import preempted, twice_without_claims
from benchmarks.scale_search import DIM, K, blocks, by_faiss, products, ranked, write_gallery

PARTS = ("preemption", "workers", "search", "index")  # what forks comes before what starts threads


class Result(NamedTuple):
    """What one part has measured, as `harness.finish` takes it."""

    laps: dict[str, dict[str, Lap]]
    ratios: dict[str, float]
    differences: dict[str, tuple[float, float]]
    figures: dict[str, Any]


def main() -> None:
    """All parts, or one: 2,000,000 rows of a gallery, 10 million items of an index, 64 processes."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    args = parse(__doc__ or "", _options)
    parts: dict[str, Callable[[argparse.Namespace, Path], Result]] = {
        "preemption": _preemption,
        "workers": _workers,
        "search": _search,
        "index": _index,
    }
    result = Result({}, {}, {}, {})
    for name in args.only or PARTS:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            measured = parts[name](args, Path(folder))
        for whole, part in zip(result, measured, strict=True):
            whole.update(part)
    finish(
        "scale",
        args,
        conditions={
            "parts": args.only or PARTS,
            "cores": len(os.sched_getaffinity(0)),
            "search": f"unit rows of noise, float32, {DIM} wide; a query is its document and noise. All read the file, "
            "from the system's cache as far as it is there; mapped pages count as memory",
            "workers": "whole commands, with their imports, and into an empty store",
            "preemption": "processes sleep instead of encoding; the plan, the claims and the files are real",
        },
        laps=result.laps,
        ratios=result.ratios,
        differences=result.differences,
        figures=result.figures,
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(rounds=1)
    parser.add_argument("--only", action="append", choices=PARTS, help="one part. Repeatable.")
    parser.add_argument("--folder", type=Path, help="where the gallery and the stores are made")


def _preemption(args: argparse.Namespace, folder: Path) -> Result:
    """Shards that were begun more than once, and how even the work was."""
    workers, shards, pause = (8, 80, 0.05) if args.small else (64, 2000, 1.0)
    laps: dict[str, Lap] = {}
    figures: dict[str, Any] = {}
    differences = {}
    for way in ("claims", "plan"):
        outcome = preempted(
            way, folder / way, workers=workers, shards=shards, pause=pause, kills=workers // 2
        )
        laps[f"by {way}"] = Lap([outcome.seconds], float("nan"))
        name = f"{workers} workers, {shards:,} shards, by {way}"
        figures |= {
            f"{name}: killed": outcome.kills,
            f"{name}: shards begun again": outcome.repeated,
            f"{name}: time / ideal": outcome.seconds / (shards * pause / workers),
            f"{name}: fewest and most shards of a worker that lived": outcome.spread,
        }
        # Each kill costs the shard that the worker was at, and nothing that was stored.
        differences[f"{name}: shards begun again beyond kills"] = (
            float(max(0, outcome.repeated - outcome.kills)),
            0.0,
        )
        differences[f"{name}: shards missing"] = (float(outcome.missing), 0.0)
    for machines, count in ((16, 1000), (64, 10_000)):
        figures[f"a bucket, {machines} machines without claims, {count:,} shards: done twice"] = (
            twice_without_claims(machines, count, seed=0)
        )
    return Result({f"{workers} workers": laps}, {}, differences, figures)


def _workers(args: argparse.Namespace, folder: Path) -> Result:
    """Whole commands over the same photographs."""
    data = folder / "photos"
    _write_photos(data, 200 if args.small else 20_000)
    ways = {"one process": [], "--workers 2": ["--workers", "2"]}
    if importlib.util.find_spec("ray") and "--cluster" in _evals("run", ["--help"], folder).stdout:
        ways["--cluster local"] = ["--cluster", "local"]
    # Not by `race`: a command is started anew each time, so there is nothing to warm up.
    laps, outputs = {}, {}
    for name, options in ways.items():
        seconds = []
        for _ in range(args.rounds):
            since = time.perf_counter()
            outputs[name] = _measured(data, options, folder)
            seconds.append(time.perf_counter() - since)
        laps[name] = Lap(seconds, float("nan"))
    alone = laps["one process"].best
    return Result(
        {"photographs by tiny": laps},
        {
            f"one process / {name}": alone / lap.best
            for name, lap in laps.items()
            if name != "one process"
        },
        {
            f"{name}: metrics that differ from one process'": (
                float(outputs[name] != outputs["one process"]),
                0.0,
            )
            for name in ways
        },
        {"not installed": [] if "--cluster local" in ways else ["evals.run --cluster local"]},
    )


def _write_photos(folder: Path, count: int) -> None:
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,caption"]
    for number in range(count):
        # Enlarged noise: a JPEG as easy to decode as a photograph.
        noise = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((320, 240)).save(folder / f"{number}.jpg")
        lines.append(f"{number}.jpg,noise of number {number}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    os.sync()  # else the first command would share the disk with what was written here


def _measured(data: Path, options: list[str], folder: Path) -> bytes:
    """The metrics of a run into an empty store."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        places = ["--store", f"{fresh}/store", "--results", f"{fresh}/runs"]
        done = _evals("run", [f"captions:{data}", "--model", "tiny", *places, *options], folder)
        if done.returncode:
            sys.exit(done.stderr)
        [metrics] = Path(fresh).rglob("metrics.jsonl")
        return metrics.read_bytes()


def _evals(command: str, arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", f"evals.{command}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )


def _search(args: argparse.Namespace, folder: Path) -> Result:
    """R@10 of every query's document, by ranks and by top 10."""
    n_queries, n_docs = (1000, 100_000) if args.small else (10_000, 2_000_000)
    file = folder / "rows.npy"
    queries, answers = write_gallery(file, n_queries, n_docs)
    docs = np.load(file, mmap_mode="r")
    contenders: dict[str, Callable[[], float]] = {
        "reading": lambda: float(sum(block.sum() for block in blocks(docs))),
        "reading and the bare product": lambda: products(queries, docs),
        "ours, ranks": lambda: ranked(queries, docs, answers),
    }
    if importlib.util.find_spec("faiss"):
        contenders["faiss, top 10"] = lambda: by_faiss(queries, docs, answers)
    laps, outputs = race(contenders, rounds=args.rounds)
    ours = laps["ours, ranks"]
    name = f"{n_queries:,} queries x {n_docs:,} x {DIM}"
    ratios = {
        f"{name}: {peer} / ours": laps[peer].best / ours.best
        for peer in ("reading and the bare product", "faiss, top 10")
        if peer in laps
    }
    differences = {}
    if "faiss, top 10" in outputs:
        # Two kernels may order scores that differ in the last bit otherwise, at the tenth place.
        pair = (outputs["ours, ranks"], outputs["faiss, top 10"])
        differences[f"{name}: R@{K}"] = (abs(pair[0] - pair[1]), 2 / n_queries)
    return Result({name: laps}, ratios, differences, {f"{name}: R@{K}": outputs["ours, ranks"]})


def _index(args: argparse.Namespace, folder: Path) -> Result:
    """The places of items that are stored, and of some that are not."""
    from evals.embeddings.index import INDEX_FILE, Index, digests_of

    count, asked = (200_000, 20_000) if args.small else (10_000_000, 1_000_000)
    _write_sidecars(folder, count)
    items = [_item(number) for number in range(count - asked // 2, count + asked // 2)]
    digests = digests_of(items)
    file = folder / INDEX_FILE

    def opened() -> Index:
        index = Index(folder)
        index.refresh()
        return index

    def built() -> Index:
        file.unlink(missing_ok=True)
        return opened()

    laps, outputs = race(
        {"build": built, "open": opened, f"look up {asked:,}": lambda: opened().find(digests)},
        rounds=args.rounds,
    )
    places = outputs[f"look up {asked:,}"].shard
    name = f"an index of {count:,} items"
    wrong = int((places[: asked // 2] < 0).sum() + (places[asked // 2 :] >= 0).sum())
    figures = {f"{name}: bytes per item": file.stat().st_size / count}
    return Result({name: laps}, {}, {f"{name}: wrong places": (float(wrong), 0.0)}, figures)


def _item(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def _write_sidecars(folder: Path, count: int) -> None:
    """As many as there would be, of shards whose rows nobody reads here."""
    from evals.embeddings.keys import SCHEMA, canonical_json
    from evals.embeddings.shards import name_of

    size = 2560  # 10 MB of 1,024 values
    for start in range(0, count, size):
        items = [_item(number) for number in range(start, min(start + size, count))]
        sidecar = {"schema": SCHEMA, "key": folder.name, "sha256": "0" * 64, "items": items}
        (folder / f"{name_of(items)}.json").write_bytes(canonical_json(sidecar))


if __name__ == "__main__":
    main()
