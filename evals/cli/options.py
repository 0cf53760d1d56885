"""The command-line options that evaluating commands share: a field of `Settings` each."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from evals.schema import ConfigError
from evals.settings import CHOICES, Settings

T = TypeVar("T")
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        help="Row of configs/models.yaml, folder, Hub id, open_clip:ARCH/TAG, st:PATH, api:URL, embeddings:FILE; "
        "+adapter:FOLDER after it merges a PEFT adapter; NAME=… before it names it in records. "
        "Repeatable.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of processes that encode, one per GPU if there are several; with --cluster "
        "the maximum.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(help="Encode on a Ray cluster: local, auto, or the HOST:PORT of its head."),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(help="With --cluster: share of a GPU per worker, such as 0.5; default 1."),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print what would be encoded, from where, how many bytes and about how long; do "
        "nothing.",
    ),
]
Trackers = Annotated[
    list[str],
    typer.Option(
        "--log",
        metavar="TRACKER[:PROJECT]",
        help="Also log the records to trackio, wandb or mlflow. Repeatable, or a list with commas.",
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="GB",
        help="Limit in GB for embeddings in memory during scoring; larger ones are read from the "
        "store, with the same result. Default: half of the machine's memory.",
    ),
]
DTYPES = ", ".join(CHOICES["dtype"])
ATTENTION = ", ".join(CHOICES["attention"])
PREPROCESS = ", ".join(CHOICES["preprocess"])

# How each field of Settings looks on the command line. A field without a row here is a KeyError of
# every command, so that none is forgotten.
DECLARED: dict[str, Any] = {
    "data": typer.Option(help="Local folder (or annotation file) instead of the Hub."),
    "name": typer.Option(help="Name of your own data (captions:DIR) in records."),
    "split": typer.Option(help="Split of your own data; default: test, or the only one."),
    "columns": typer.Option(
        help="Columns of your own table: image=…,captions=… (or label=…, id=…)."
    ),
    "subsets": typer.Option(help="Languages to evaluate, e.g. en,de; default: all."),
    "limit": typer.Option(min=1, help="Only N images, chosen with a seed: a partial run."),
    "allow_subset": typer.Option(
        "--allow-subset", help="Accept data with fewer items than declared."
    ),
    "device": typer.Option(help="cpu, cuda, cuda:1 …; default: CUDA if there is a GPU."),
    "dtype": typer.Option(help=f"{DTYPES}; default: float32 on a CPU, else the checkpoint's."),
    "max_length": typer.Option(min=3, help="Maximum tokens per text, including special tokens."),
    "instruction": typer.Option(
        "--instruction/--no-instruction",
        help="Give queries the model's retrieval instruction (mteb tasks).",
    ),
    "attention": typer.Option(help=f"Attention kernel of the text tower: {ATTENTION}."),
    "preprocess": typer.Option(help="exact (Pillow, as published) or fast (torch's uint8 resize)."),
    "compile": typer.Option(
        "--compile", help="Compile the image tower; worth it for thousands of images."
    ),
    "cuda_graphs": typer.Option(
        "--cuda-graphs", help="Replay passes of images as CUDA graphs: pays for small passes."
    ),
    "batch_tokens": typer.Option(
        min=1, help="Text tokens per pass; chosen automatically by default."
    ),
    "batch_images": typer.Option(min=1, help="Images per pass; chosen automatically by default."),
    "measures": typer.Option(
        help="Additional measures of text retrieval, at any cut-off: nDCG@20,P@5."
    ),
    "keep_top": typer.Option(
        min=1, help="Keep the best K documents of each query, for evals.export --to trec."
    ),
    "keep_embeddings": typer.Option(
        "--keep-embeddings", help="Keep all embeddings in the record, for evals.replay."
    ),
    "results": typer.Option(
        envvar="EVALS_RESULTS", help="Where records are written: a folder, or a bucket."
    ),
    "store": typer.Option(
        envvar="EVALS_STORE",
        help="Where embeddings are kept: a folder, or a bucket (s3://, gs://, az://).",
    ),
}
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout; messages go to stderr.")
]


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with a parameter `options`, as one with an option for each field of `Settings`.

    And `--json`. The command gets the values as a dict and makes `Settings` of them (`settings_of`) where errors
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
    # typer reads the signature for the order and the defaults, and the annotations for the options.
    parameters_of_both = keyword_only + shared
    wrapped.__signature__ = inspect.Signature(parameters_of_both)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {
        parameter.name: parameter.annotation for parameter in parameters_of_both
    }
    # inspect would follow it to the signature of the command itself.
    del wrapped.__wrapped__
    return wrapped


def _shared_parameters() -> list[inspect.Parameter]:
    # On a command line a list is one text, comma by comma.
    # And a place is a text: a path would take the two slashes of s3://bucket for one.
    texts = {"subsets": str | None, "measures": str | None, "store": str, "results": str}
    hints = get_type_hints(Settings) | texts
    parameters = [
        _parameter(field.name, field.default, Annotated[hints[field.name], DECLARED[field.name]])
        for field in fields(Settings)
    ]
    return [*parameters, _parameter("json", False, Json)]


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=annotation,
    )


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The settings that the options of a command line stand for.

    ConfigError for values that cannot be meant.
    """
    values = {name: value for name, value in options.items() if name != "json"}
    lists = {name: comma_list(options[name]) for name in ("subsets", "measures")}
    return Settings(**values | lists)


def needed(value: T | None, option: str, value_to_type: str) -> T:
    """The value of an option that a command cannot do without.

    ConfigError without it, with the whole command to type.
    """
    if value is not None:
        return value
    from shlex import join

    from evals.command_line import command

    raise ConfigError(f"{option} is missing. Type: {join([*command(), option, value_to_type])}")


def comma_list(value: str | None) -> tuple[str, ...] | None:
    """`en,de` as a tuple; None stays None. ConfigError when it names nothing."""
    if value is None:
        return None
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    if not parts:
        raise ConfigError(f"{value!r} names nothing; give a list such as en,de.")
    return parts


def in_bytes(gigabytes: float | None) -> int | None:
    """What `--memory` says, in bytes; None stays None."""
    return None if gigabytes is None else int(gigabytes * 2**30)


def dims_list(value: str | None, option: str = "--dims") -> tuple[int, ...] | None:
    """`64,128` as a tuple of whole numbers of 1 or more; `option` is what messages call it."""
    parts = comma_list(value)
    if parts is None:
        return None
    # isdecimal: int would also take " 64", "+64" and "6_4".
    invalid = [part for part in parts if not part.isdecimal() or int(part) < 1]
    if invalid:
        raise ConfigError(f"{option}: {', '.join(invalid)} is not a whole number of 1 or more.")
    return tuple(int(part) for part in parts)
