"""Benchmarks as folders that can be copied anywhere: pack one, or check one by its manifest.

python -m evals.data prepare flickr8k --to DIR [--data SRC] [--subsets en,de] [--allow-subset]
python -m evals.data verify DIR
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Json, comma_list, needed
from evals.cli.vocabulary import Benchmarks, one_benchmark, shared_words
from evals.counts import counted
from evals.schema import CaptionProtocol, ConfigError, EvalError, MissingError, Source

if TYPE_CHECKING:
    from evals.config.catalog import Benchmark
    from evals.data.manifest import Manifest

app = new_app()


@app.callback()
def main() -> None:
    """Pack benchmarks into folders that serve as --data, and check such folders."""


@app.command()
@shared_words
def prepare(
    benchmarks: Annotated[list[str], Benchmarks("Row of configs/benchmarks.yaml.")],
    to: Annotated[
        Path | None,
        typer.Option(help="Folder in which the benchmark's folder is created; required."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages to pack, e.g. en,de; default: all.")
    ] = None,
    allow_subset: Annotated[
        bool, typer.Option("--allow-subset", help="Accept data with fewer items than declared.")
    ] = False,
    json: Json = False,
) -> None:
    """Pack a benchmark from the Hub, or from --data, into DIR.

    After an interruption, repeat the command to continue.
    """
    with reported(json=json) as log:
        from evals.config.catalog import benchmark
        from evals.data import prepare as room

        row = benchmark(one_benchmark(benchmarks))
        folder = needed(to, "--to", "packed").expanduser() / (row.folder or row.name)
        source = _source(row, data, comma_list(subsets))
        manifest = room.prepare(
            row, source, folder, allow_subset=allow_subset, progress=log.progress
        )
        _show([(folder, manifest)], log)


@app.command()
def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A prepared folder, or a folder of them.")
    ],
    json: Json = False,
) -> None:
    """Compare every file with the manifest.

    What is missing, changed or additional is named, with exit code 3.
    """
    with reported(json=json) as log:
        from evals.data.manifest import check_folder

        checked: list[tuple[Path, Manifest]] = []
        failures: list[EvalError] = []
        for prepared in _prepared(folder.expanduser(), log):
            try:
                checked.append((prepared, check_folder(prepared, log.progress)))
            except EvalError as error:
                failures.append(error)
        if checked and not (failures and json):
            _show(checked, log)
        if failures:
            raise type(failures[0])("; ".join(map(str, failures)))


def _source(row: "Benchmark", data: Path | None, subsets: tuple[str, ...] | None) -> Source:
    """Where the row is packed from: all captions as they were written, whatever its protocol."""
    from evals.data.sources import source_of

    unknown = set(subsets or ()) - set(row.subsets)
    if unknown:
        raise ConfigError(
            f"{row.name} has no subset {', '.join(sorted(unknown))}. "
            f"It has {', '.join(row.subsets)}."
        )
    source = source_of(row, subsets or row.subsets, data)
    return replace(source, protocol=CaptionProtocol(), prompts=None)


def _prepared(folder: Path, log: Log) -> list[Path]:
    """The folder itself, or the prepared folders in it; what else is in there is named."""
    from evals.data.manifest import MANIFEST, UNFINISHED

    def is_prepared(path: Path) -> bool:
        return (path / MANIFEST).is_file() or (path / UNFINISHED).is_file()

    if is_prepared(folder):
        return [folder]
    # `prepare --to DIR` makes a folder per benchmark in DIR, and DIR is what people name here, too.
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    visible = [path for path in inside if not path.name.startswith(".")]
    prepared = [path for path in visible if is_prepared(path)]
    if not prepared:
        raise MissingError(
            f"{folder}: no {MANIFEST} in it, nor in a folder of it. "
            "Make one with `python -m evals.data prepare`."
        )
    for path in visible:
        if path not in prepared:
            log.info(f"{path}: no {MANIFEST} in it, so there is nothing to check it against")
    return prepared


def _show(folders: "list[tuple[Path, Manifest]]", log: Log) -> None:
    """Two lines for each folder, or one JSON object."""
    from evals.data.manifest import place_of

    entries: list[dict[str, Any]] = []
    for folder, manifest in folders:
        count = len(manifest.files)
        size = sum(file.bytes for file in manifest.files.values())
        entry = {"path": str(folder), "files": count, "bytes": size}
        entries.append(entry | manifest.model_dump(mode="json", exclude={"files"}))
        if not log.json:
            log.result(
                f"{folder.name}: {counted(count, 'file')}, {size / 1e6:,.1f} MB, as prepared on "
                f"{manifest.prepared[:10]}, {place_of(manifest.source)}"
            )
            log.result(f"  {folder}")
    if log.json:
        log.output({"schema_version": 1, "prepared": entries})


if __name__ == "__main__":
    exit_with(app)
