"""What benchmarks of published sizes cost in GPU-hours, bytes, files and network, from measured rates: a table of docs/scale.md.

python -m benchmarks.scale_costs           prints it
python -m benchmarks.scale_costs --write   puts it into the page
"""

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import print_table
from evals.embeddings.cutting import limits_by_size
from evals.embeddings.keys import SCHEMA, canonical_json
from evals.reading import read_yaml

INPUTS = Path(__file__).with_name("scale_costs.yaml")
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- costs, by python -m benchmarks.scale_costs --write -->", "<!-- /costs -->"
# evals/embeddings/index_file.py: two 64-bit halves of the digest, a shard and a row of 32 bits
INDEX_BYTES = 24
HEAD = [
    "",
    "items",
    "GPU-hours, tower",
    "GPU-hours, whole",
    "inputs read",
    "embeddings",
    "sidecars",
    "index",
    "files",
    "network",
]


class Cost(NamedTuple):
    """What one benchmark costs; bytes and seconds, `piped` None where no rate was measured."""

    name: str
    items: int
    tower: float
    piped: float | None
    inputs: int
    rows: int
    sidecars: int
    files: int

    @property
    def index(self) -> int:
        """Bytes of the index file."""
        return INDEX_BYTES * self.items

    @property
    def network(self) -> int:
        """Bytes over the wire when nothing is on the machine that works: inputs, rows up, rows down to be scored."""
        return self.inputs + 2 * (self.rows + self.sidecars)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/scale.md")
    args = parser.parse_args()
    inputs = read_yaml(INPUTS)
    rows = [_cells(cost) for cost in costs(inputs)]
    print_table(HEAD, rows)
    if args.write:
        PAGE.write_text(with_block(PAGE.read_text(encoding="utf-8"), block()), encoding="utf-8")


def costs(inputs: Any) -> list[Cost]:
    """The cost of every benchmark of the file of inputs."""
    return [_cost(size, inputs) for size in inputs["sizes"]]


def block() -> str:
    """The table and what it rests on, in Markdown."""
    inputs = read_yaml(INPUTS)
    lines = [BEGIN, "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(_cells(cost)) + " |" for cost in costs(inputs)]
    commands = dict.fromkeys(f"`{rate['by']}`" for rate in inputs["rates"].values())
    sources = "; ".join(f"{size['name']}: {size['source']}" for size in inputs["sizes"])
    lines += [
        "",
        f"{inputs['model']}, {inputs['dim']:,} dimensions, one {inputs['card']}. Rates: "
        f"{inputs['measured']}, by {' and '.join(commands)}.",
        f"Sizes: {sources}. Assumed: {'; '.join(inputs['assumed'])}.",
        "*Tower* counts forward passes only. *Whole* counts reading and decoding too; it is empty where no rate "
        "was measured. That rate is of one run of evals.run xm3600 with 16 cores, timed by hand, whose result was "
        "not kept. *Network*: inputs are sent once, embeddings and sidecars once up and once down.",
        END,
    ]
    return "\n".join(lines)


def with_block(page: str, new: str) -> str:
    """The page with the block in the place of the old one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{PAGE} has no place for the table"
    return before + new + after


def _cost(size: Any, inputs: Any) -> Cost:
    tower = piped = 0.0
    items = read = sidecars = files = 0
    is_piped = True
    for side in size["sides"]:
        kind, count = side["kind"], side["items"]
        amount = count * side.get("tokens", 1)
        tower += amount / _per_second(inputs["rates"][kind])
        measured = inputs["end_to_end"].get(kind)
        is_piped = is_piped and measured is not None
        piped += amount / _per_second(measured) if measured else 0.0
        shards = _shards(side, inputs["dim"])
        items += count
        read += count * side["bytes"]
        sidecars += shards * _sidecar_bytes(math.ceil(count / shards))
        files += 2 * shards
    rows = items * inputs["dim"] * 4
    return Cost(
        size["name"], items, tower, piped if is_piped else None, read, rows, sidecars, files
    )


def _shards(side: Any, dim: int) -> int:
    """Into how many shards the subsets of a side are cut, texts of one length each."""
    subsets = side.get("subsets", 1)
    of_subset = math.ceil(side["items"] / subsets)
    most = limits_by_size("image" if side["kind"] == "image" else "text", of_subset, dim)
    size = most.items
    if most.characters:
        size = min(size, math.ceil(most.characters / side["bytes"]))
    return subsets * math.ceil(of_subset / size)


def _sidecar_bytes(items: int) -> int:
    sidecar = {"schema": SCHEMA, "key": "0" * 32, "sha256": "0" * 64, "items": ["0" * 64] * items}
    return len(canonical_json(sidecar))


def _per_second(rate: Any) -> float:
    return rate.get("per_second") or rate["amount"] / rate["seconds"]


def _cells(cost: Cost) -> list[str]:
    return [
        cost.name,
        f"{cost.items:,}",
        _hours(cost.tower),
        "" if cost.piped is None else _hours(cost.piped),
        *map(_bytes, (cost.inputs, cost.rows, cost.sidecars, cost.index)),
        f"{cost.files:,}",
        _bytes(cost.network),
    ]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2g}" if seconds < 360_000 else f"{seconds / 3600:,.0f}"


def _bytes(count: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.3g} {unit}"
    return f"{count / 1e3:,.3g} kB"


if __name__ == "__main__":
    main()
