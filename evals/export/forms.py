"""The formats that records can be exported to, and what all of them share."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

from evals.records.record import Run
from evals.schema import ConfigError, MissingError, NotComparableError

Files = Mapping[str, bytes]  # by path below the folder that is written


class Form(NamedTuple):
    """A format: the module whose `files` makes it, and what a list of formats says of it."""

    module: str
    about: str


FORMS = {
    "csv": Form("flat", "one line per number, with the identity of its model and data"),
    "parquet": Form("flat", "the same table, for pandas, polars and `datasets`"),
    "json": Form("flat", "the same table as a list of objects"),
    "clip-benchmark": Form("clip_benchmark", "CLIP_benchmark's JSON, for its `build`"),
    "trec": Form("trec", "TREC runs and qrels, of records that kept rankings (--keep-top)"),
    "mteb": Form(
        "mteb_results", "mteb's results folder, for `mteb.ResultCache` and its leaderboard"
    ),
    "hf": Form("hub", "`.eval_results/*.yaml` of a model's repository on the Hub"),
    "card": Form("card", "Markdown tables for a model card"),
}


def export(runs: Sequence[Run], form: str) -> Files:
    """The files of a format.

    Raises ConfigError for a format that there is not and for no records, NotComparableError for a
    record that the format has no place for, InvalidError for one that is broken.
    """
    if form not in FORMS:
        raise ConfigError(f"--to {form}: no such format. There is {', '.join(FORMS)}.")
    if not runs:
        raise ConfigError("There is no record to export. Name one, or the folder they lie in.")
    # imported by name: the modules of the formats import this one
    make: Callable[[Sequence[Run], str], Files] = import_module(
        f"evals.export.{FORMS[form].module}"
    ).files
    return make(runs, form)


def add(files: dict[str, bytes], name: str, data: bytes) -> None:
    """Put a file among others; ConfigError when one of that name is there, and would be lost."""
    if name in files:
        raise ConfigError(
            f"Two records would both be written to {name}. Name one of them, or export each "
            "into a folder of its own with --out."
        )
    files[name] = data


class Choice(NamedTuple):
    """The records that a format has a place for, and why it has none for the others."""

    runs: list[Run]
    refused: list[str]


def exportable(runs: Sequence[Run], form: str) -> Choice:
    """Those of many records that a format can hold, each tried by itself."""
    choice = Choice([], [])
    for run in runs:
        # one at a time: a refusal is of the whole call, and would take the others with it
        try:
            export([run], form)
        except (MissingError, NotComparableError) as error:
            choice.refused.append(str(error))
        else:
            choice.runs.append(run)
    return choice
