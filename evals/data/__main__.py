"""Benchmarks as folders that can be copied anywhere, and checked: pack one, or compare one with its manifest.

python -m evals.data prepare flickr8k --to DIR [--data SRC] [--subsets en,de] [--allow-subset]
python -m evals.data verify DIR
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import comma_list
from evals.schema import CaptionProtocol, ConfigError, EvalError, MissingError, Source

if TYPE_CHECKING:
    from evals.config.catalog import Benchmark
    from evals.data.manifest import Manifest

app = new_app()
Json = Annotated[
    bool, typer.Option("--json", help="Machine output on stdout; messages go to stderr.")
]


@app.callback()
def main() -> None:
    """Pack benchmarks into folders that serve as --data, and check such folders."""


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Row of configs/benchmarks.yaml.")],
    to: Annotated[Path, typer.Option(help="Folder that gets a folder of the benchmark.")],
    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages to pack, e.g. en,de; all unless given.")
    ] = None,
    allow_subset: Annotated[
        bool, typer.Option("--allow-subset", help="Accept data with fewer items than declared.")
    ] = False,
    json: Json = False,
) -> None:
    """Pack a benchmark from the Hub, or from --data, into DIR; the same command goes on after an interruption."""
    with reported(json=json) as log:
        from evals.config.catalog import benchmark
        from evals.data import prepare as room

        row = benchmark(name)
        folder = to.expanduser() / (row.folder or row.name)
        source = _source(row, data, comma_list(subsets))
        manifest = room.prepare(
            row, source, folder, allow_subset=allow_subset, progress=log.progress
        )
        _tell([(folder, manifest)], log)


@app.command()
def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A prepared folder, or a folder of them.")
    ],
    json: Json = False,
) -> None:
    """Compare every file with the manifest: what is missing, changed or additional is named, with exit code 3."""
    with reported(json=json) as log:
        from evals.data.manifest import check_folder

        fine: list[tuple[Path, Manifest]] = []
        failed: list[EvalError] = []
        for one in _prepared(folder.expanduser(), log):
            try:
                fine.append((one, check_folder(one, log.progress)))
            except EvalError as error:
                failed.append(error)
        if fine and not (failed and json):
            _tell(fine, log)
        if failed:
            raise type(failed[0])("; ".join(map(str, failed)))


def _source(row: "Benchmark", data: Path | None, subsets: tuple[str, ...] | None) -> Source:
    """Where the row is packed from, with all captions as they were written, whatever its protocol."""
    if unknown := set(subsets or ()) - set(row.subsets):
        raise ConfigError(
            f"{row.name} has no subset {', '.join(sorted(unknown))}. It has {', '.join(row.subsets)}."
        )
    own = data.expanduser() / (row.folder or row.name) if data else None
    return Source(
        subsets=subsets or row.subsets,
        split=row.split,
        folder=own if own and own.is_dir() else data and data.expanduser(),
        repo=row.hub.repo if row.hub else None,
        revision=row.hub.revision if row.hub else None,
        protocol=CaptionProtocol(),
    )


def _prepared(folder: Path, log: Log) -> list[Path]:
    """The folder itself, or the prepared folders in it; what else is in there is named."""
    from evals.data.manifest import MANIFEST, UNFINISHED

    def is_prepared(path: Path) -> bool:
        return (path / MANIFEST).is_file() or (path / UNFINISHED).is_file()

    if is_prepared(folder):
        return [folder]
    inside = (
        sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if folder.is_dir()
        else []
    )
    found = [path for path in inside if is_prepared(path)]
    if not found:
        raise MissingError(
            f"{folder}: no {MANIFEST} in it, nor in a folder of it. Make one with `python -m evals.data prepare`."
        )
    for path in inside:
        if path not in found:
            log.info(f"{path}: no {MANIFEST} in it, so there is nothing to check it against")
    return found


def _tell(found: "list[tuple[Path, Manifest]]", log: Log) -> None:
    """A line for each folder, or one JSON object."""
    from evals.data.manifest import place_of

    entries: list[dict[str, Any]] = []
    for folder, manifest in found:
        size = sum(file.bytes for file in manifest.files.values())
        entries.append(
            {
                "path": str(folder),
                "files": len(manifest.files),
                "bytes": size,
                **manifest.model_dump(mode="json", exclude={"files"}),
            }
        )
        if not log.json:
            counted = f"{folder.name}: {len(manifest.files):,} files, {size / 1e6:,.1f} MB"
            log.result(
                f"{counted}, as prepared on {manifest.prepared[:10]}, {place_of(manifest.source)}"
            )
            log.result(f"  {folder}")
    if log.json:
        log.output({"schema_version": 1, "prepared": entries})


if __name__ == "__main__":
    exit_with(app)
