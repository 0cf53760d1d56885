"""The command-line options that evaluating commands share, declared once: `Settings` and how each of its fields is typed."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import typer

from evals.schema import ConfigError
from evals.settings import CHOICES, Settings

Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        help="Row of configs/models.yaml, folder, Hub id, open_clip:ARCH/TAG, st:PATH, api:URL; "
        "+adapter:FOLDER behind it merges a PEFT adapter; NAME=… gives it a name of your own in records. Repeatable.",
    ),
]
DTYPES, ATTENTION, PREPROCESS = (
    ", ".join(CHOICES[name]) for name in ("dtype", "attention", "preprocess")
)

# How each field of Settings looks on the command line.
DECLARED: dict[str, Any] = {
    "data": typer.Option(help="Local folder (or annotation file) instead of the Hub."),
    "name": typer.Option(help="What records call data of your own (captions:DIR)."),
    "split": typer.Option(help="Split of data of your own; test, or the only one."),
    "subsets": typer.Option(help="Languages to evaluate, e.g. en,de; all unless given."),
    "limit": typer.Option(min=1, help="Only so many images, by a seeded choice: a partial run."),
    "allow_subset": typer.Option(
        "--allow-subset", help="Accept data with fewer items than declared."
    ),
    "device": typer.Option(help="cpu, cuda, cuda:1 …; CUDA when there is one."),
    "dtype": typer.Option(help=f"{DTYPES}; float32 on CPU, else the checkpoint's."),
    "max_length": typer.Option(min=3, help="Tokens of a text, special ones included."),
    "instruction": typer.Option(
        "--instruction/--no-instruction",
        help="Give queries the model's retrieval instruction (mteb tasks).",
    ),
    "attention": typer.Option(help=f"Of the text tower: {ATTENTION}."),
    "preprocess": typer.Option(help="exact (Pillow, as published) or fast (torch's uint8 resize)."),
    "compile": typer.Option(
        "--compile", help="Compile the image tower: pays for thousands of images."
    ),
    "batch_tokens": typer.Option(min=1, help="Tokens of texts a pass; finds itself unless given."),
    "batch_images": typer.Option(min=1, help="Images a pass; finds itself unless given."),
    "results": typer.Option(envvar="EVALS_RESULTS", help="Where records are written."),
    "store": typer.Option(envvar="EVALS_STORE", help="Where embeddings are kept."),
}
JSON = typer.Option("--json", help="Machine output on stdout; messages go to stderr.")


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with a parameter `options`, as one that typer gives an option for each field of `Settings`, and `--json`.

    The command gets the values as a dict and makes `Settings` of them (`settings_of`) where errors
    are reported.
    """
    parameters = inspect.signature(command).parameters.values()
    private = [parameter for parameter in parameters if parameter.name != "options"]
    hints = get_type_hints(command, include_extras=True)
    shared = _shared_parameters()
    shared_names = [parameter.name for parameter in shared]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in shared_names}
        command(**arguments, options=options)

    keyword_only = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in private
    ]
    wrapped.__signature__ = inspect.Signature(keyword_only + shared)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {
        parameter.name: parameter.annotation for parameter in keyword_only + shared
    }
    del wrapped.__wrapped__
    return wrapped


def _shared_parameters() -> list[inspect.Parameter]:
    hints = get_type_hints(Settings) | {"subsets": str | None}  # a list, comma by comma
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[hints[field.name], DECLARED[field.name]],
        )
        for field in fields(Settings)
    ]
    json = inspect.Parameter(
        "json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, JSON]
    )
    return [*parameters, json]


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The settings that the options of a command line stand for.

    ConfigError for values that cannot be meant.
    """
    values = {name: value for name, value in options.items() if name != "json"}
    return Settings(**values | {"subsets": comma_list(options["subsets"])})


def comma_list(value: str | None) -> tuple[str, ...] | None:
    """`en,de` as a tuple; None stays None. ConfigError when it names nothing."""
    if value is None:
        return None
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    if not parts:
        raise ConfigError(f"{value!r} names nothing; give a list such as en,de.")
    return parts


def dims_list(value: str | None, option: str = "--dims") -> tuple[int, ...] | None:
    """`64,128` as a tuple of whole numbers of 1 or more; `option` is what messages call it."""
    parts = comma_list(value)
    if parts is None:
        return None
    invalid = [part for part in parts if not part.isdecimal() or int(part) < 1]
    if invalid:
        raise ConfigError(f"{option}: {', '.join(invalid)} is not a whole number of 1 or more.")
    return tuple(int(part) for part in parts)
