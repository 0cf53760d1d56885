"""All commands under one name: `jina-clip-evals COMMAND …`, which is `python -m evals.COMMAND …`.

jina-clip-evals run flickr --model jina-clip-v2
jina-clip-evals --install-completion
"""

import functools
import importlib
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from evals.cli.app import exit_with
from evals.early import CONSOLE_SCRIPT
from evals.packages import packages
from evals.records.provenance import source_state


class Command(NamedTuple):
    """The module that holds a command's `app`, and what the list of commands says of it."""

    module: str
    about: str


COMMANDS = {
    "run": Command("evals.run", "Evaluate models on benchmarks."),
    "mrl-sweep": Command("evals.mrl_sweep", "Score fewer dimensions and coarser precisions."),
    "encode": Command("evals.encode", "Encode benchmarks, as one of many processes or machines."),
    "probe": Command("evals.probe", "Classify images by k-NN and a linear probe."),
    "fusion": Command("evals.fusion", "Search documents that have a text and an image."),
    "compare": Command("evals.compare", "Say which of two models, widths or records is better."),
    "rank": Command(
        "evals.rank", "Say which of many models is best, and which cannot be told apart."
    ),
    "plan": Command("evals.plan", "Say how many images it takes to see a difference."),
    "parity": Command("evals.parity.__main__", "Say whether two models give the same embeddings."),
    "index": Command("evals.index", "Measure what nearest-neighbour indexes cost and lose."),
    "watch": Command(
        "evals.watch.__main__", "Measure the checkpoints of a training run as they come."
    ),
    "mistakes": Command("evals.mistakes", "Show the queries that a model gets wrong."),
    "cost": Command("evals.cost", "Count tiles, tokens and bytes."),
    "report": Command("evals.report.__main__", "Hold records against the published tables."),
    "regress": Command("evals.regress.__main__", "Fail when retrieval got worse than a baseline."),
    "export": Command("evals.export.__main__", "Write records in the forms of other tools."),
    "track": Command("evals.track", "Log records to trackio, Weights & Biases or MLflow."),
    "dashboard": Command("evals.dashboard.__main__", "Write all records as a static site."),
    "verify": Command("evals.verify", "Say whether records are what was written."),
    "replay": Command("evals.replay", "Score the stored rows of a record again, bit by bit."),
    "score": Command("evals.score", "Score rankings that another program wrote."),
    "items": Command("evals.items", "Write the items of a benchmark, to be embedded elsewhere."),
    "data": Command("evals.data.__main__", "Pack benchmarks into folders, and check such folders."),
}


class CommandsOnDemand(TyperGroup):
    """Imports the module of the command that is called, and of no other: the list of commands needs none."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # Both spellings: `python -m` needs mrl_sweep, and a command line is written mrl-sweep.
        words = [args[0].replace("_", "-"), *args[1:]]
        name, listed, rest = super().resolve_command(ctx, words)
        if name is None or listed is None:  # while a shell completes the name
            return name, listed, rest
        # Only now: all commands would take seconds to import, and one is called.
        module = importlib.import_module(COMMANDS[name].module)
        return name, get_command(module.app), rest


app = typer.Typer(
    cls=CommandsOnDemand,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


def _print_version(show: bool) -> bool:
    if not show:
        return False
    version = packages().get("jina-clip-evals", "not installed")
    source = source_state()
    commit = f", commit {source['commit'][:12]}" if source else ""
    changed = ", changed since" if source and source["dirty"] else ""
    typer.echo(f"jina-clip-evals {version}{commit}{changed}")
    raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version, and leave."
        ),
    ] = False,
) -> None:
    """Retrieval evaluation of jina-clip and the models it is compared with."""


def _listed() -> None:
    """Stands in the list of commands; the command itself is imported when it is called."""


for name, command in COMMANDS.items():
    app.command(name, help=command.about)(_listed)


def main() -> None:
    """The console script."""
    exit_with(functools.partial(app, prog_name=CONSOLE_SCRIPT))


if __name__ == "__main__":
    main()
