"""Plans of encoding: what a store lacks, cut into shards and numbered, in a file that carries its hash.

Made once, and read by every process of an array job: process I of N takes every N-th shard. What
a plan was made of is checked again by whoever takes a part, so that no process encodes other data
or by another model than the others.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, ValidationError

from evals.evaluation.encoding import NamedSide, sides_of
from evals.evaluation.load import Loaded
from evals.files import write_atomically
from evals.reading import read_json
from evals.schema import ConfigError, InvalidError

if TYPE_CHECKING:
    from evals.embeddings.store import Store
    from evals.schema import Encoder

SCHEMA = 1
Positions = Int[np.ndarray, "_"]


class Part(NamedTuple):
    """One of several equal parts of a plan, counted from 1."""

    number: int
    of: int


class PlannedSide(BaseModel):
    """The missing items of a side: each shard as ranges of positions, the end not among them.

    `key` and `content` say by which model and of which data, as `NamedSide` does.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    benchmark: str
    model: str
    kind: str
    key: str
    content: str
    items: int
    shards: list[list[tuple[int, int]]]

    @property
    def missing(self) -> int:
        """How many items its shards hold."""
        ranges = (bounds for shard in self.shards for bounds in shard)
        return sum(stop - start for start, stop in ranges)


@dataclass(frozen=True)
class Plan:
    """All sides, and the hash of the file."""

    sides: tuple[PlannedSide, ...]
    sha256: str

    @property
    def shards(self) -> int:
        """How many there are to encode."""
        return sum(len(side.shards) for side in self.sides)

    @property
    def items(self) -> int:
        """How many items they hold."""
        return sum(side.missing for side in self.sides)


def parse_part(text: str) -> Part:
    """`2/8` as the second of eight parts; ConfigError for anything else."""
    number, slash, parts = text.partition("/")
    if slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts):
        return Part(int(number), int(parts))
    raise ConfigError(f"--shard {text}: give I/N with I from 1 to N, such as 2/8.")


def planned_sides(
    loaded: Loaded, encoder: "Encoder", store: "Store", planned: dict[str, set[str]]
) -> list[PlannedSide]:
    """What the store lacks of a benchmark, and no side before.

    `planned` has the hashes of the items that are planned, by keys, and gets those of this one.
    """
    sides = []
    for side, key, content in sides_of(loaded, encoder):
        # A process alone would find these stored by then, and cut shards without them.
        before = planned.setdefault(key, set())
        shards = store.shards(encoder, side, but=before)
        for shard in shards:
            before.update(side.hashes[position] for position in shard)
        sides.append(
            PlannedSide(
                benchmark=loaded.row.name,
                model=encoder.name,
                kind=side.kind,
                key=key,
                content=content,
                items=len(side),
                shards=[_ranges(shard) for shard in shards],
            )
        )
    return sides


def write_plan(file: Path, sides: Sequence[PlannedSide]) -> Plan:
    """Write a plan; an OSError names the file."""
    from evals.embeddings.keys import canonical_json

    plan = _body(sides)
    digest = hashlib.sha256(canonical_json(plan)).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, canonical_json(plan | {"sha256": digest}))
    return Plan(tuple(sides), digest)


def read_plan(file: Path) -> Plan:
    """A plan that is as it was written; InvalidError otherwise, MissingError when it is not there."""
    from evals.embeddings.keys import canonical_json

    remedy = "Make it anew with --make-plan."
    value = read_json(file)
    if not isinstance(value, dict) or value.get("schema_version") != SCHEMA:
        raise InvalidError(f"{file}: is no plan of version {SCHEMA}. {remedy}")
    try:
        sides = [PlannedSide.model_validate_json(_text(side)) for side in value["sides"]]
    except (KeyError, TypeError, ValidationError):
        raise InvalidError(f"{file}: its sides are not those of a plan. {remedy}") from None
    digest = hashlib.sha256(canonical_json(_body(sides))).hexdigest()
    if value.get("sha256") != digest:
        raise InvalidError(f"{file}: its hash does not match. {remedy}")
    return Plan(tuple(sides), digest)


def planned_for(plan: Plan, loaded: Loaded, encoder: "Encoder", file: Path) -> list[NamedSide]:
    """The sides of a benchmark that a plan has, by the key and the content that it names.

    ConfigError when it was made of other data, by another model, or without the benchmark.
    """
    expected = {
        (side.key, side.content)
        for side in plan.sides
        if (side.benchmark, side.model) == (loaded.row.name, encoder.name)
    }
    sides = list(sides_of(loaded, encoder))
    if {(side.key, side.content) for side in sides} != expected:
        raise ConfigError(
            f"--plan {file}: was not made of this {loaded.row.name} by this {encoder.name}: its data, "
            "weights, settings, packages or kind of device are others. Make it anew with --make-plan, "
            "where its parts will be encoded."
        )
    return sides


def check_covered(plan: Plan, seen: set[tuple[str, str]], file: Path) -> None:
    """ConfigError when a plan has a benchmark or a model that the command line does not name."""
    unseen = {(side.benchmark, side.model) for side in plan.sides} - seen
    if unseen:
        benchmark, model = min(unseen)
        raise ConfigError(
            f"--plan {file}: was made of {benchmark} by {model}, too. Name all that it was made of: "
            "else nobody encodes it."
        )


def shards_of_part(plan: Plan, part: Part) -> dict[tuple[str, str], list[Positions]]:
    """The positions of each shard of a part, by the key and the content of its side.

    Shards are dealt out in turn over all sides, so that parts are equal and none is first to have
    only the small ones.
    """
    dealt: dict[tuple[str, str], list[Positions]] = {}
    number = 0
    for side in plan.sides:
        for shard in side.shards:
            if number % part.of == part.number - 1:
                ranges = [np.arange(start, stop) for start, stop in shard]
                dealt.setdefault((side.key, side.content), []).append(np.concatenate(ranges))
            number += 1
    return dealt


def items_of_part(plan: Plan, part: Part) -> dict[tuple[str, str], Counter[str]]:
    """How many items of each kind a part has, by the names of benchmark and model."""
    dealt = shards_of_part(plan, part)
    items: dict[tuple[str, str], Counter[str]] = {}
    for side in plan.sides:
        shards = dealt.get((side.key, side.content), [])
        counts = items.setdefault((side.benchmark, side.model), Counter())
        counts[side.kind] += sum(len(shard) for shard in shards)
    return items


def _body(sides: Sequence[PlannedSide]) -> dict[str, Any]:
    return {"schema_version": SCHEMA, "sides": [side.model_dump(mode="json") for side in sides]}


def _text(value: Any) -> bytes:
    from evals.embeddings.keys import canonical_json

    return canonical_json(value)


def _ranges(positions: Positions) -> list[tuple[int, int]]:
    """Ascending positions as ranges of neighbours."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    runs = np.split(positions, breaks)
    return [(int(run[0]), int(run[-1]) + 1) for run in runs]
