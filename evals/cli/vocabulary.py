"""The words that all commands share: how benchmarks, files of tables and figures are written.

A command declares parameters of the types below, and `shared_words` makes options of them that are
spelled the same everywhere. Earlier spellings work, with a hint on stderr.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from evals.cli.app import Log, reported
from evals.cli.options import comma_list
from evals.schema import ConfigError

ROWS = "Rows of configs/benchmarks.yaml, suites, mteb:TASK[/SPLIT], or captions:DIR"


@dataclass(frozen=True)
class Benchmarks:
    """How a command takes benchmarks, as a mark of its parameter.

    `--benchmarks a,b` everywhere; as arguments, too, unless the command's arguments are any number
    of something else.
    """

    help: str = f"{ROWS}."
    positional: bool = True


class TableFiles(NamedTuple):
    """The files that a table is written to, one per format that was asked for."""

    csv: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    parquet: Path | None = None


class Figures(NamedTuple):
    """Where figures go: `path` is a folder or a PNG, None for the usual place; `none`: draw none.

    `is_file`: the path is that of a file, whatever its suffix, as `--plot` has always taken it.
    """

    path: Path | None = None
    none: bool = False
    is_file: bool = False

    @property
    def folder(self) -> Path | None:
        """The folder of a command that draws several. ConfigError for a PNG."""
        if self.path is not None and self.path.suffix.lower() == ".png":
            raise ConfigError(f"--figures {self.path}: this command draws several; name a folder.")
        return self.path

    def file(self, name: str) -> Path | None:
        """The PNG of a command that draws one: `path` itself, or `name` in that folder."""
        if self.path is None or self.is_file or self.path.suffix.lower() == ".png":
            return self.path
        return self.path / name


# What each format is for, as the help has it.
TABLES = {
    "csv": "Write the table to this CSV file.",
    "markdown": "Write the tables to this Markdown file.",
    "html": "Write the table as an HTML page that loads nothing.",
    "parquet": "Write the table to this Parquet file, with typed columns.",
}


def one_benchmark(names: list[str], default: str | None = None) -> str:
    """The benchmark of a command that takes one. ConfigError for none, or several."""
    if not names and default is not None:
        return default
    if len(names) != 1:
        raise ConfigError(f"This command takes one benchmark, and {len(names)} are named.")
    return names[0]


def shared_words(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the shared options for its parameters of the types of this file.

    A parameter `benchmarks: Annotated[list[str], Benchmarks(…)]` gets all names that were given, as
    arguments or by option; `tables: TableFiles` and `figures: Figures` what their options say.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    gathering: dict[str, Callable[[dict[str, Any]], Any]] = {}
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        words = _words(hint)
        if words is None:
            parameters.append(_keyword(parameter.name, hint, parameter.default))
        else:
            parameters += words.parameters
            gathering[parameter.name] = words.gather

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        # What cannot be meant ends as it does in a command.
        with reported(json=arguments.get("json", False)):
            gathered = {name: gather(arguments) for name, gather in gathering.items()}
        command(**arguments, **gathered)

    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    # inspect would follow it to the signature of the command itself.
    del wrapped.__wrapped__
    return wrapped


class _Words(NamedTuple):
    """Options in the place of one parameter; `gather` takes their values out of the arguments."""

    parameters: list[inspect.Parameter]
    gather: Callable[[dict[str, Any]], Any]


def _words(hint: Any) -> _Words | None:
    marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Benchmarks)]
    if marks:
        return _benchmarks(marks[0])
    if hint is TableFiles:
        return _tables()
    return _figures() if hint is Figures else None


def _benchmarks(mark: Benchmarks) -> _Words:
    argument = typer.Argument(metavar="BENCHMARK...", help=mark.help)
    option = typer.Option("--benchmarks", metavar="NAME,…", help=mark.help)
    former = typer.Option("--benchmark", hidden=True)
    parameters = []
    if mark.positional:
        parameters.append(_optional("benchmark_arguments", list[str], argument))
    parameters.append(_optional("benchmark_lists", list[str], option))
    parameters.append(_optional("former_benchmark", list[str], former))

    def gather(arguments: dict[str, Any]) -> list[str]:
        names = [*(arguments.pop("benchmark_arguments", None) or ())]
        for text in arguments.pop("benchmark_lists") or ():
            names += comma_list(text) or ()
        for name in _former(arguments, "former_benchmark", "--benchmark", "--benchmarks") or ():
            names.append(name)
        return list(dict.fromkeys(names))

    return _Words(parameters, gather)


def _tables() -> _Words:
    options = {
        name: typer.Option(f"--{name}", metavar="FILE", help=TABLES[name]) for name in TABLES
    }
    parameters = [_optional(f"table_{name}", Path, option) for name, option in options.items()]

    def gather(arguments: dict[str, Any]) -> TableFiles:
        return TableFiles(**{name: arguments.pop(f"table_{name}") for name in TABLES})

    return _Words(parameters, gather)


def _figures() -> _Words:
    path = typer.Option("--figures", metavar="PATH", help="Folder for the figures, or a PNG file.")
    none = typer.Option("--no-figures", help="Draw no figures.")
    former = typer.Option("--plot", hidden=True)
    parameters = [
        _optional("figures_path", Path, path),
        _keyword("figures_none", Annotated[bool, none], False),
        _optional("former_plot", Path, former),
    ]

    def gather(arguments: dict[str, Any]) -> Figures:
        former_path = _former(arguments, "former_plot", "--plot", "--figures")
        chosen = arguments.pop("figures_path") or former_path
        no_figures = arguments.pop("figures_none")
        # Contradictory: whoever wrote both expects one of them.
        if chosen and no_figures:
            raise typer.BadParameter("--figures and --no-figures exclude each other.")
        return Figures(chosen, no_figures, is_file=chosen is not None and chosen == former_path)

    return _Words(parameters, gather)


def _former(arguments: dict[str, Any], name: str, spelling: str, now: str) -> Any:
    """The value of an earlier spelling, and a hint when it was used."""
    value = arguments.pop(name)
    if value:
        Log().info(f"hint: {spelling} is called {now} now. Both work.")
    return value


def _optional(name: str, kind: Any, declared: Any) -> inspect.Parameter:
    return _keyword(name, Annotated[kind | None, declared], None)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
