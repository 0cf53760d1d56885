"""Whether two ways to run a model give the same embeddings, and why not where they do not:

python -m evals.parity A B [--benchmarks scenes] [--probe 50] [--b dtype=bfloat16] [--html parity.html]
python -m evals.parity A --export pins.safetensors
python -m evals.parity B --check pins.safetensors
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Json, comma_list
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, TableFiles, one_benchmark, shared_words
from evals.counts import counted
from evals.schema import ConfigError

if TYPE_CHECKING:
    from evals.parity.certificate import Certificate

app = new_app()
OPERAND = (
    "What --model takes elsewhere: a name, a folder, st:…, open_clip:…, api:…, embeddings:FILE."
)
SETTING = "A setting of {} alone, KEY=VALUE: dtype, device, compile, max_length, preprocess … or role=query."


@app.command()
@shared_words
def parity(
    models: Annotated[list[str], typer.Argument(metavar="A [B]", help=OPERAND)],
    benchmarks: Annotated[
        list[str],
        Benchmarks(
            "Row of configs/benchmarks.yaml, or captions:DIR; default: scenes.", positional=False
        ),
    ],
    tables: TableFiles,
    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages, e.g. en,de; default: all.")
    ] = None,
    probe: Annotated[
        int, typer.Option(min=2, help="Images (or queries, pairs) of the benchmark.")
    ] = 50,
    a: Annotated[list[str] | None, typer.Option("--a", help=SETTING.format("A"))] = None,
    b: Annotated[list[str] | None, typer.Option("--b", help=SETTING.format("B"))] = None,
    min_cosine: Annotated[float, typer.Option(help="The lowest cosine allowed.")] = 0.98,
    tail_cosine: Annotated[float, typer.Option(help="The lowest 0.1% quantile allowed.")] = 0.99,
    median_cosine: Annotated[float, typer.Option(help="The lowest median allowed.")] = 0.999,
    max_norm: Annotated[
        float, typer.Option(help="The largest relative change of a norm allowed.")
    ] = 0.01,
    max_metric: Annotated[
        float,
        typer.Option(help="The largest significant change of a metric allowed, as a fraction."),
    ] = 0.003,
    allow: Annotated[str | None, typer.Option(help="Causes that are accepted: resize,cut.")] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write pinned inputs and A's embeddings of them to this file."),
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Compare the model with the embeddings in such a file.")
    ] = None,
    json: Json = False,
) -> None:
    """Check whether A and B give the same embeddings: exit code 0 if they do, 1 if not."""
    with reported(json=json) as log:
        from evals.parity.certificate import certify
        from evals.parity.pinned import read_pins, role_of
        from evals.parity.pins import export_pins
        from evals.parity.runners import probe_of, runner_of
        from evals.parity.tolerances import Tolerances

        _check_count(models, export, check)
        if (export or check) and (benchmarks or data or subsets):
            raise ConfigError("--export and --check have inputs of their own. Name no benchmark.")
        if export:
            digest = export_pins(export, runner_of(models[0], a or []))
            _tell_export(log, export, digest)
            return
        limits = Tolerances(min_cosine, tail_cosine, median_cosine, max_norm, max_metric)
        if check:
            items, first, _ = read_pins(check)
            # The texts had a role when the rows were made, and have it again unless told otherwise.
            second = runner_of(models[0], b or [], role=role_of(check))
        else:
            first, second = runner_of(models[0], a or []), runner_of(models[1], b or [])
            items = probe_of(one_benchmark(benchmarks, "scenes"), data, comma_list(subsets), probe)
        certificate = certify(
            items, first, second, limits, allowed=comma_list(allow) or (), reporter=log
        )
        _finish(log, certificate, tables)


def _check_count(models: Sequence[str], export: Path | None, check: Path | None) -> None:
    if export and check:
        raise ConfigError("--export writes a file and --check reads one. Give one of them.")
    count = 1 if export or check else 2
    if len(models) != count:
        option = "--export" if export else "--check"
        what = f"{option} takes one model" if count == 1 else "Two models are compared"
        raise ConfigError(f"{what}, and {counted(len(models), 'is', 'are')} named.")


def _tell_export(log: Log, path: Path, digest: str) -> None:
    size = path.stat().st_size
    machine = {"schema_version": 1, "file": str(path), "bytes": size, "sha256": digest}

    def show() -> None:
        log.result(f"wrote {path}: {size:,} bytes, sha256 {digest}")

    finish(log, show=show, machine=lambda: machine)


def _finish(log: Log, certificate: "Certificate", tables: TableFiles) -> None:
    """Settle the exit code, then write the files and print."""
    from evals.parity.page import as_html
    from evals.parity.show import as_json, print_certificate
    from evals.views.table_files import contents

    # First: a page that cannot be written changes no verdict.
    log.settle(0 if certificate.verdict == "same" else 1)
    content = contents(lambda: as_json(certificate)["metrics"], "Parity")
    content["html"] = lambda: as_html(certificate)
    written = write_outputs(*table_outputs(tables, content))

    def machine() -> dict[str, Any]:
        paths = {kind: str(path) for kind, path in written.items()}
        return as_json(certificate) | {"written": paths}

    finish(
        log,
        show=lambda: print_certificate(certificate, written),
        machine=machine,
        exit_code=log.exit_code,
    )


if __name__ == "__main__":
    exit_with(app)
