"""Reads what the benchmarks of speed have measured: rates, shares of what a device can do, and peers of the same run.

A benchmark writes one JSON (benchmarks/harness.py). Its figures named "CASE: share of LIMIT" say how
near it came to a limit that was measured in the same process.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evals.reading import read_json
from evals.schema import InvalidError, MissingError

LIMITS = ("the matmul rate", "the floor", "the bare product", "its widest dimension alone")
SHARE = re.compile(rf"(?P<case>.+): share of (?P<limit>{'|'.join(LIMITS)})(, .+)?")
# What a share is of may have been written as how many times longer it took.
TIMES = {
    "ours / bare matmul": "the bare product",
    "sweep / widest alone (at most 1.6)": "its widest dimension alone",
}
RATE = re.compile(r"(?P<unit>\S+/s)(, .+)?")
KEYS = {"benchmark", "date", "machine", "figures", "ratios", "agree"}


class Timing(NamedTuple):
    """A case of a benchmark: `share` is the part of `limit` that was reached, 0 to 1.

    `rate` says items per second where the benchmark counts them. `peer` is what came nearest in
    the same run, and `ratio` its time over ours; None where nothing else ran. `agrees` says that all
    outputs of the benchmark were equal within what it allows.
    """

    date: str
    device: str
    benchmark: str
    case: str
    rate: str
    share: float
    limit: str
    peer: str | None
    ratio: float | None
    agrees: bool
    commit: str


def read_timings(folder: Path) -> list[Timing]:
    """Every case with a limit of all JSON files below a folder, by date.

    MissingError for a folder that is not there, InvalidError for a file that no benchmark wrote.
    """
    if not folder.is_dir():
        raise MissingError(
            f"{folder}: no such folder. Name the one that `make bench` wrote its JSON files into."
        )
    timings: list[Timing] = []
    for file in sorted(folder.rglob("*.json")):
        timings += timings_of(read_json(file), file)
    return sorted(timings, key=lambda timing: (timing.date, timing.device))


def timings_of(result: Any, file: Path) -> list[Timing]:
    """The cases with a limit of one benchmark's result; InvalidError for what is none."""
    if not isinstance(result, dict) or not result.keys() >= KEYS:
        raise InvalidError(
            f"{file}: no result of a benchmark (keys {', '.join(sorted(KEYS))}). Name a folder "
            "that holds nothing else."
        )
    timings = []
    for name, value in result["figures"].items():
        share = _share(name, value)
        if share is None:
            continue
        peer = _nearest_peer(share.case, result["ratios"])
        timings.append(
            Timing(
                date=result["date"],
                device=_device(result["machine"]),
                benchmark=result["benchmark"],
                case=share.case,
                rate=_rate(share.case, result["figures"]),
                share=share.value,
                limit=share.limit,
                peer=peer.name if peer else None,
                ratio=peer.ratio if peer else None,
                agrees=result["agree"] is True,
                commit=_commit(result.get("source")),
            )
        )
    return timings


class _Share(NamedTuple):
    case: str
    limit: str
    value: float


class _Peer(NamedTuple):
    name: str
    ratio: float


def _share(name: str, value: Any) -> _Share | None:
    """The share that a figure states, or the inverse of the times that it states; else None."""
    if not isinstance(value, int | float):
        return None
    match = SHARE.fullmatch(name)
    if match:
        return _Share(match["case"], match["limit"], float(value))
    case, _, times = name.rpartition(": ")
    if times in TIMES and value > 0:
        return _Share(case, TIMES[times], 1 / value)
    return None


def _rate(case: str, figures: Mapping[str, Any]) -> str:
    """The items per second of a case, of which only one kind is counted; empty where none is."""
    for name, value in figures.items():
        start, _, rest = name.partition(f"{case}: ")
        match = RATE.fullmatch(rest)
        if not start and match:
            digits = 0 if value >= 100 else 1
            return f"{value:,.{digits}f} {match['unit']}"
    return ""


def _nearest_peer(case: str, ratios: Mapping[str, float]) -> _Peer | None:
    """Of "CASE: PEER / OURS" the one with the smallest time over ours."""
    peers = []
    for name, ratio in ratios.items():
        start, _, rest = name.partition(f"{case}: ")
        if not start and rest and ratio is not None:
            peers.append(_Peer(rest.partition(" / ")[0], ratio))
    return min(peers, key=lambda peer: peer.ratio, default=None)


def _device(machine: Mapping[str, Any]) -> str:
    if machine["accelerator"]:
        return str(machine["accelerator"])
    return f"{machine['processor']}, {machine['cores']} cores"


def _commit(source: Mapping[str, Any] | None) -> str:
    if not source:
        return ""
    changed = "+" if source["dirty"] else ""
    return f"{source['commit'][:8]}{changed}"
