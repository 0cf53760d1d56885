"""Encode what benchmarks need and score nothing, as one of many processes that share the work:

python -m evals.encode BENCHMARK... --model M --store DIR                       next to others at it
python -m evals.encode BENCHMARK... --model M --store DIR --cluster auto        by the nodes of a cluster
python -m evals.encode BENCHMARK... --model M --store DIR --make-plan plan.json
python -m evals.encode BENCHMARK... --model M --store DIR --plan plan.json --shard 2/8
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Cluster, GpusPerWorker, Models, Workers, settings_of, takes_options
from evals.cli.results import finish
from evals.cli.vocabulary import Benchmarks, shared_words
from evals.config.catalog import Benchmark
from evals.config.choice import Work, choose
from evals.config.models import ModelRef, resolve_model
from evals.config.own_data import DataRef
from evals.config.suites import TaskRef
from evals.counts import counted
from evals.evaluation.load import Loaded, build_encoder, check, load_item
from evals.evaluation.workforce import ALONE, Workforce, open_pool
from evals.evaluation.workload import WorkReporter, work_line
from evals.schema import ConfigError
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.embeddings.store import Store
    from evals.evaluation.encoding_plan import Part, Plan
    from evals.schema import Encoder

app = new_app()


@app.command()
@shared_words
@takes_options
def encode(
    options: dict[str, Any],
    benchmarks: Annotated[list[str], Benchmarks()],
    model: Models = [],  # noqa: B006 - typer copies it
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", "-s", help="Row of configs/suites.yaml. Repeatable."),
    ] = None,
    make_plan: Annotated[
        Path | None, typer.Option(help="Write what is missing to this file, and encode nothing.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Encode the part of this plan that --shard names.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="I/N: every N-th shard of the plan, from the I-th on.")
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    gpus_per_worker: GpusPerWorker = None,
) -> None:
    """Encode what is neither stored nor claimed; or make a plan; or encode a part of a plan."""
    with reported(json=options["json"]) as log:
        from evals.embeddings.store import Store
        from evals.evaluation.encoding_plan import items_of_part, parse_part, read_plan

        settings = settings_of(options)
        if not (benchmarks or suite) or not model:
            raise ConfigError("Name one benchmark or --suite at least, and a --model.")
        if (plan is None) != (shard is None):
            raise ConfigError("--plan and --shard go together. Give both, or neither.")
        if plan is not None and make_plan is not None:
            raise ConfigError("--make-plan makes a plan, and --plan takes one. Give one of them.")
        workforce = Workforce(workers, cluster, gpus_per_worker)
        if workforce != ALONE and (plan is not None or make_plan is not None):
            raise ConfigError(
                "--workers and --cluster need no plan. Leave --make-plan or --plan out."
            )
        work, _ = choose(benchmarks, suite or (), subsets=settings.subsets, data_name=settings.name)
        refs = [resolve_model(name) for name in dict.fromkeys(model)]
        check(work, refs, settings)
        _refuse_tasks(work)
        store = Store(settings.store)
        pairs = _pairs(work, refs, settings)
        if make_plan is not None:
            _plan(log, make_plan, pairs, store)
        elif plan is not None and shard is not None:
            part = parse_part(shard)
            whole = read_plan(plan)
            log.info(f"{plan}: part {part.number} of {part.of}, sha256 {whole.sha256}")
            planned = items_of_part(whole, part)
            with work_line(log, work, refs, settings, planned) as line:
                counts = _encode_part(line, plan, whole, part, pairs, store)
            extra = {"sha256": whole.sha256, "shard": [part.number, part.of]}
            _show(log, counts, extra, rest=f"part {part.number} of {part.of} is stored")
        else:
            with work_line(log, work, refs, settings) as line:
                counts = _encode_all(line, pairs, store, workforce, settings)
            _show(log, counts, {}, rest="the rest was stored")


def _refuse_tasks(work: list[Work]) -> None:
    tasks = [item.name for item in work if isinstance(item, TaskRef)]
    if tasks:
        raise ConfigError(
            f"{tasks[0]}: mteb loads and encodes its tasks as it measures them. Use evals.run, or "
            "name benchmarks alone."
        )


class _Pair(NamedTuple):
    """A benchmark with its data, and a model, and what they are of."""

    item: Benchmark | DataRef
    ref: ModelRef
    loaded: Loaded
    encoder: "Encoder"


def _pairs(work: list[Work], refs: list[ModelRef], settings: Settings) -> Iterator[_Pair]:
    for ref in refs:
        encoder = build_encoder(ref, settings)
        for item in work:
            if not isinstance(item, TaskRef):  # they were refused
                yield _Pair(item, ref, load_item(item, settings), encoder)


def _plan(log: Log, file: Path, pairs: Iterator[_Pair], store: "Store") -> None:
    from evals.evaluation.encoding_plan import PlannedSide, planned_sides, write_plan

    sides: list[PlannedSide] = []
    planned: dict[str, set[str]] = {}
    for _, _, loaded, encoder in pairs:
        sides += planned_sides(loaded, encoder, store, planned)
    plan = write_plan(file, sides)
    finish(
        log,
        show=lambda: log.result(
            f"wrote {file}: {counted(plan.items, 'item')} in {counted(plan.shards, 'shard')}, "
            f"sha256 {plan.sha256}"
        ),
        machine=lambda: {
            "schema_version": 1,
            "plan": str(file),
            "sha256": plan.sha256,
            "shards": plan.shards,
            "items": plan.items,
        },
    )


def _encode_part(
    line: WorkReporter,
    file: Path,
    plan: "Plan",
    part: "Part",
    pairs: Iterator[_Pair],
    store: "Store",
) -> dict[str, int]:
    """The items that were encoded, by kind; FailedShardsError where some could not be."""
    from evals.evaluation.encoding import Encoding
    from evals.evaluation.encoding_plan import check_covered, planned_for, shards_of_part

    dealt = shards_of_part(plan, part)
    done = Encoding(line)
    seen = set()
    for item, ref, loaded, encoder in pairs:
        line.begin(item, ref)
        line.plan(encoder, loaded)
        seen.add((loaded.row.name, encoder.name))
        for named in planned_for(plan, loaded, encoder, file):
            done.encode(store, encoder, named.side, dealt.get((named.key, named.content), []))
    check_covered(plan, seen, file)
    done.check()
    return done.counts


def _encode_all(
    line: WorkReporter,
    pairs: Iterator[_Pair],
    store: "Store",
    workforce: Workforce,
    settings: Settings,
) -> dict[str, int]:
    """The items that were encoded, by kind; FailedShardsError where some could not be."""
    from evals.embeddings.failures import FailedShardsError
    from evals.evaluation.encoding import Encoding, sides_of
    from evals.evaluation.recording import Costs

    done = Encoding(line)
    costs = Costs(encoded=done.counts)
    with open_pool(workforce, settings, line) as pool:
        for item, ref, loaded, encoder in pairs:
            line.begin(item, ref)
            line.plan(encoder, loaded)
            try:
                pool.encode(item, ref, loaded, encoder, costs)
            except FailedShardsError as error:
                done.failed.append(error)
                continue
            # What workers could not, for their errors are those of this process.
            for side, *_ in sides_of(loaded, encoder):
                done.encode(store, encoder, side, store.shards(encoder, side))
    done.check()
    return done.counts


def _show(log: Log, counts: dict[str, int], extra: dict[str, Any], *, rest: str) -> None:
    from evals.evaluation.outcome import encoded_words

    finish(
        log,
        show=lambda: log.result(f"encoded {encoded_words(counts)}; {rest}"),
        machine=lambda: {"schema_version": 1, "encoded": counts, **extra},
    )


if __name__ == "__main__":
    exit_with(app)
