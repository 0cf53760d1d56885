"""What a benchmark holds, as a file for programs that embed it themselves:

python -m evals.items BENCHMARK --to items.parquet [--data DIR] [--subsets en,de] [--no-images]
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json, comma_list, needed
from evals.cli.results import finish
from evals.cli.vocabulary import Benchmarks, one_benchmark, shared_words
from evals.config.choice import choose
from evals.config.suites import TaskRef
from evals.counts import counted
from evals.evaluation.load import check, load_item
from evals.schema import ConfigError, InvalidError
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.schema import Side

app = new_app()
# Arrow types by name. `id` is what embeddings are found by (`--model embeddings:FILE`).
COLUMNS = {"kind": "string", "id": "string", "text": "string", "image": "binary"}
# Images of one block are in memory together: some 50 MB of photographs.
BLOCK = 256


@app.command()
@shared_words
def items(
    benchmarks: Annotated[
        list[str], Benchmarks("Row of configs/benchmarks.yaml, or your own data: captions:DIR.")
    ],
    to: Annotated[
        Path | None, typer.Option(help="The Parquet file: kind, id, text, image; required.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages, e.g. en,de; default: all.")
    ] = None,
    images: Annotated[
        bool, typer.Option(help="Whether the images are in the file, encoded as they are stored.")
    ] = True,
    json: Json = False,
) -> None:
    """Write every item of a benchmark once, with the id that identifies its embedding."""
    with reported(json=json) as log:
        from evals.tasks import task_of

        file = needed(to, "--to", "items.parquet")
        settings = Settings(data=data, subsets=comma_list(subsets))
        benchmark = one_benchmark(benchmarks)
        work, _ = choose([benchmark], subsets=settings.subsets)
        check(work, [], settings)
        if len(work) != 1 or isinstance(work[0], TaskRef):
            raise ConfigError(f"{benchmark}: name one benchmark, which is no task of mteb.")
        row, parts = load_item(work[0], settings)
        sides = []
        for part in parts.subsets.values():
            sides += task_of(row.task).sides(part)
        count = _write(file, sides, with_images=images)

        def show() -> None:
            log.result(f"wrote {file}: {counted(count, 'item')} of {row.name}")

        finish(
            log,
            show=show,
            machine=lambda: {
                "schema_version": 1,
                "benchmark": row.name,
                "items": count,
                "file": str(file),
            },
        )


def _write(to: Path, sides: "Sequence[Side]", *, with_images: bool) -> int:
    """Every item once, block by block; the number of items."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from evals.files import writing_atomically

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    count = 0
    to.parent.mkdir(parents=True, exist_ok=True)
    with writing_atomically(to) as file, pq.ParquetWriter(file, schema) as writer:
        for block in _blocks(sides, with_images=with_images):
            writer.write_table(pa.Table.from_pylist(block, schema=schema))
            count += len(block)
    return count


def _blocks(sides: "Sequence[Side]", *, with_images: bool) -> Iterator[list[dict[str, Any]]]:
    contents: dict[tuple[str, str], str] = {}  # languages share their images
    for side in sides:
        new = []
        for i, (item, content) in enumerate(zip(side.ids, side.hashes, strict=True)):
            if (side.kind, item) not in contents:
                new.append(i)
            if contents.setdefault((side.kind, item), content) != content:
                raise InvalidError(
                    f"{side.kind} {item!r} is another one in two subsets, and an id must mean one. "
                    "Write them one by one with --subsets."
                )
        for start in range(0, len(new), BLOCK):
            places = new[start : start + BLOCK]
            yield [_item(side, i, with_images=with_images) for i in places]


def _item(side: "Side", index: int, *, with_images: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": side.kind, "id": side.ids[index], "text": None, "image": None}
    if side.kind == "text":
        return entry | {"text": side.items[index]}
    if with_images:
        from evals.data.images import stored_bytes

        entry["image"] = stored_bytes(side.items, index)
    return entry


if __name__ == "__main__":
    exit_with(app)
