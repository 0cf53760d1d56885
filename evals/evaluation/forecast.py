"""What a run would encode and how long that would take, without encoding anything.

Times come from the records of this machine: items encoded by a model, divided by the seconds they
took. What no record tells is unknown, and nothing is guessed from other models or machines.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evals.config.choice import Work
from evals.config.models import ModelRef
from evals.config.suites import TaskRef
from evals.evaluation.encoding_plan import planned_sides
from evals.evaluation.load import Loaded, build_encoder, load_item
from evals.evaluation.pool import BY
from evals.records.manifest import Manifest, read_manifest
from evals.records.provenance import host
from evals.records.record import list_runs
from evals.schema import EvalError, is_multi_vector
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.embeddings.store import Store
    from evals.schema import Encoder

BYTES_PER_VALUE = 4  # float32
FEWEST = 32  # items that a record must have encoded to tell a rate: fewer are mostly start-up
HOST = ("processor", "cores", "accelerator")


class Forecast(NamedTuple):
    """The images or texts of a benchmark that a model would have to encode.

    `missing` of `items` are not stored, and take `size` bytes of the store, None where how many
    vectors an item has is known only afterwards. `seconds` is None where no record tells a rate.
    `source` says where the data is; `problem` why nothing can be said, and then all numbers are
    None.
    """

    benchmark: str
    model: str
    kind: str | None
    items: int | None
    missing: int | None
    size: int | None
    seconds: float | None
    source: str | None
    problem: str | None = None


def forecast(work: Sequence[Work], refs: Sequence[ModelRef], settings: Settings) -> list[Forecast]:
    """A line per model, benchmark and kind, in the order of a run; what is there is taken as stored.

    Data and weights that are not on this machine are not fetched where the Hub is offline: their
    line says so. Tasks of mteb load their data themselves and are not counted.
    """
    from evals.embeddings.store import Store

    lines: list[Forecast] = []
    loaded: dict[str, Loaded | EvalError] = {}
    store = Store(settings.store)
    for ref in refs:
        try:
            encoder = build_encoder(ref, settings)
        except EvalError as error:
            lines += [_unknown(item.name, ref.name, str(error)) for item in work]
            continue
        rates = recorded_rates(manifests_of(settings.records, ref.name), encoder)
        planned: dict[str, set[str]] = {}
        for item in work:
            if isinstance(item, TaskRef):
                problem = "mteb loads its data itself: not counted"
                lines.append(_unknown(item.name, ref.name, problem))
                continue
            if item.name not in loaded:
                loaded[item.name] = _loaded(item, settings)
            data = loaded[item.name]
            if isinstance(data, EvalError):
                lines.append(_unknown(item.name, ref.name, str(data)))
            else:
                lines += _sides(data, encoder, store, planned, rates)
    return lines


def _loaded(item: Work, settings: Settings) -> Loaded | EvalError:
    assert not isinstance(item, TaskRef)
    try:
        return load_item(item, settings)
    except EvalError as error:
        return error


def _unknown(benchmark: str, model: str, problem: str) -> Forecast:
    return Forecast(benchmark, model, None, None, None, None, None, None, problem)


def _sides(
    loaded: Loaded,
    encoder: "Encoder",
    store: "Store",
    planned: dict[str, set[str]],
    rates: dict[str, float],
) -> list[Forecast]:
    """A line for images and one for texts, over all subsets; items that come twice are encoded once."""
    items: dict[str, int] = {}
    missing: dict[str, int] = {}
    for side in planned_sides(loaded, encoder, store, planned):
        items[side.kind] = items.get(side.kind, 0) + side.items
        missing[side.kind] = missing.get(side.kind, 0) + side.missing
    origin = next(iter(loaded.parts.subsets.values())).origin
    source = ", ".join(f"{key} {value}" for key, value in list(origin.items())[:3])
    unsized = is_multi_vector(encoder)
    lines = []
    for kind, count in missing.items():
        rate = rates.get(kind)
        seconds = count / rate if rate else None
        line = Forecast(
            benchmark=loaded.row.name,
            model=encoder.name,
            kind=kind,
            items=items[kind],
            missing=count,
            size=None if unsized and count else count * encoder.dim * BYTES_PER_VALUE,
            # nothing to encode takes no time, whatever the rate
            seconds=0.0 if count == 0 else seconds,
            source=source,
        )
        lines.append(line)
    return lines


def manifests_of(results: Path, model: str) -> list[Manifest]:
    """What the records of a model say of themselves. InvalidError for a broken one."""
    return [read_manifest(path) for path in list_runs(results, model=model)]


def recorded_rates(manifests: Sequence[Manifest], encoder: "Encoder") -> dict[str, float]:
    """Items a second of a model by kind, from those of its records that are of this machine and device."""
    items: dict[str, int] = {}
    seconds: dict[str, float] = {}
    here = host()
    for manifest in manifests:
        device = manifest.encoder.fingerprint.get("device")
        same_host = all(manifest.host.get(name) == here.get(name) for name in HOST)
        if not same_host or device != encoder.fingerprint.get("device"):
            continue
        # The seconds of a kind are then those in which rows were read that workers had encoded.
        if any(stage.startswith(BY) for stage in manifest.seconds):
            continue
        for kind, count in manifest.encoded.items():
            spent = manifest.seconds.get(f"encode_{kind}", 0.0)
            if count >= FEWEST and spent > 0:
                items[kind] = items.get(kind, 0) + count
                seconds[kind] = seconds.get(kind, 0.0) + spent
    return {kind: count / seconds[kind] for kind, count in items.items()}


class MeasuredSubset(NamedTuple):
    """A subset of a benchmark that was measured before."""

    benchmark: str
    subset: str


def measured_before(
    manifests: Sequence[Manifest], encoder: "Encoder", settings: Settings
) -> set[MeasuredSubset]:
    """What records say that this model's rows were put into this store for, with the same `--limit`.

    Whether they are still there, nobody looks.
    """
    measured: set[MeasuredSubset] = set()
    for manifest in manifests:
        config = manifest.config
        same_choice = config.store == str(settings.store) and config.limit == settings.limit
        if same_choice and manifest.encoder.fingerprint == dict(encoder.fingerprint):
            name = manifest.whole_benchmark
            measured.update(MeasuredSubset(name, subset) for subset in manifest.data)
    return measured


def duration(seconds: float) -> str:
    """`45 s`, `21 min`, `3 h 12 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
