"""The command-line options that all evaluating commands share, declared once."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from evals.schema import ConfigError

DTYPES = ("float32", "bfloat16", "float16")
ATTENTION = ("auto", "sdpa", "varlen", "flash_attn")
PREPROCESS = ("exact", "fast")
ENCODER_OPTIONS = (
    "device",
    "dtype",
    "attention",
    "preprocess",
    "compile",
    "max_length",
    "batch_tokens",
    "batch_images",
)


@dataclass(frozen=True)
class Options:
    """How to evaluate; what is None is left to the model or the benchmark. ConfigError for values that cannot be meant."""

    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None
    subsets: Annotated[
        str | None, typer.Option(help="Languages to evaluate, e.g. en,de; all unless given.")
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only so many images, by a seeded choice: a partial run."),
    ] = None
    allow_subset: Annotated[
        bool, typer.Option("--allow-subset", help="Accept data with fewer items than declared.")
    ] = False
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 …; CUDA when there is one.")
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(DTYPES)}; float32 on CPU, else the checkpoint's."),
    ] = None
    max_length: Annotated[
        int, typer.Option(min=3, help="Tokens of a text, special ones included.")
    ] = 512
    instruction: Annotated[
        bool,
        typer.Option(
            "--instruction/--no-instruction",
            help="Give queries the model's retrieval instruction (mteb tasks).",
        ),
    ] = False
    attention: Annotated[str, typer.Option(help=f"Of the text tower: {', '.join(ATTENTION)}.")] = (
        "auto"
    )
    preprocess: Annotated[
        str, typer.Option(help="exact (Pillow, as published) or fast (torch's uint8 resize).")
    ] = "exact"
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Compile the image tower: pays for thousands of images."),
    ] = False
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of texts a pass; finds itself unless given.")
    ] = None
    batch_images: Annotated[
        int | None, typer.Option(min=1, help="Images a pass; finds itself unless given.")
    ] = None
    results: Annotated[
        Path, typer.Option(envvar="EVALS_RESULTS", help="Where records are written.")
    ] = Path("results/runs")
    store: Annotated[
        Path, typer.Option(envvar="EVALS_STORE", help="Where embeddings are kept.")
    ] = Path("results/store")
    json: Annotated[
        bool, typer.Option("--json", help="Machine output on stdout; messages go to stderr.")
    ] = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("dtype", self.dtype or DTYPES[0], DTYPES),
            ("attention", self.attention, ATTENTION),
            ("preprocess", self.preprocess, PREPROCESS),
        ):
            if value not in known:
                raise ConfigError(f"--{name} {value}: use {', '.join(known)}.")

    @property
    def subset_names(self) -> tuple[str, ...] | None:
        """`subsets` as a list."""
        return comma_list(self.subsets)


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with a parameter `options`, as one that typer gives an option for each field of `Options`.

    The command gets the values as a dict, so that it builds `Options` where errors are reported.
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "options"]
    hints = get_type_hints(command, include_extras=True)
    shared_hints = get_type_hints(Options, include_extras=True)
    shared = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=f.default,
            annotation=shared_hints[f.name],
        )
        for f in fields(Options)
    ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        values = {f.name: given.pop(f.name) for f in fields(Options)}
        command(**given, options=values)

    wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name]) for p in own]
        + shared
    )
    wrapped.__annotations__ = {p.name: hints[p.name] for p in own} | {
        p.name: p.annotation for p in shared
    }
    del wrapped.__wrapped__
    return wrapped


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
    if wrong := [part for part in parts if not part.isdecimal() or int(part) < 1]:
        raise ConfigError(f"{option}: {', '.join(wrong)} is not a whole number of 1 or more.")
    return tuple(int(part) for part in parts)
