"""Finds records by benchmarks and models as `evals.run` takes them: `captions:DIR`, a checkpoint's folder."""

import difflib
import re
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import join, quote
from typing import NamedTuple

from evals.early import CONSOLE_SCRIPT
from evals.natural import natural
from evals.records.manifest import PARTIAL, Manifest
from evals.records.record import Run

ALIKE = 0.5  # difflib's ratio of two letters that changed places in a name of four
MISSPELLED = 0.8  # of one wrong letter in a name of five: `coco` is none of `cost`
MOST = 20  # pairs of benchmark and model that a message lists
# What evals.fusion and evals.probe call their records: other commands cannot measure them.
_DERIVED = re.compile(r".+\.(fusion|knn|linear)", re.DOTALL)
_OWN = re.compile(r"(?:(?P<name>[^=:/]+)=)?(?P<kind>[a-z]+):(?P<place>.+)", re.DOTALL)


def is_of_model(run: Run, text: str) -> bool:
    """Whether a record is of the model that `text` means: its name there, its folder or its Hub id."""
    encoder = run.manifest.encoder
    source = encoder.source if encoder else {}
    if text in (run.manifest.model, source.get("repo")):
        return True
    folder = source.get("folder")
    return bool(folder) and "/" in text and _same_place(str(folder), text)


def is_of_benchmark(run: Run, text: str) -> bool:
    """Whether a record is of the benchmark that `text` means: its name, or `KIND:PLACE` of data of one's own."""
    if text == run.manifest.benchmark:
        return True
    own, match = run.manifest.config.row.own, _OWN.fullmatch(text)
    if match is None or own is None or own.kind != match["kind"] or not own.place:
        return False
    if match["name"] not in (None, run.manifest.whole_benchmark):
        return False
    return _same_place(own.place, match["place"])


def recorded_names(runs: Sequence[Run], benchmark: str, model: str) -> tuple[str, str]:
    """What the records call a benchmark and a model; as they were written where no record is of both.

    `runs` are the newest of each benchmark and model: a folder means the model that was measured
    from it last, and only where no other has taken its name since. Whole benchmarks go before parts.
    """
    fitting = [run for run in runs if is_of_benchmark(run, benchmark) and is_of_model(run, model)]
    # A record's folder is called by its time.
    fitting.sort(key=lambda run: (not run.manifest.benchmark.endswith(PARTIAL), run.path.name))
    if not fitting:
        return benchmark, model
    return fitting[-1].manifest.benchmark, fitting[-1].manifest.model


def argument_of(manifest: Manifest) -> str:
    """A record's benchmark as commands take it: `flickr8k`, or `photos=captions:data/photos`."""
    name, own, task = manifest.whole_benchmark, manifest.config.row.own, manifest.mteb
    if task:
        some = len(task.splits) == 1 and task.splits != task.all_splits
        return f"mteb:{task.task}/{task.splits[0]}" if some else f"mteb:{task.task}"
    return f"{name}={own.kind}:{own.place}" if own and own.place else name


def model_argument(run: Manifest) -> str:
    """A record's model as `--model` takes it: as it was typed, if it was the only one."""
    call = _parsed(run)
    # A checkpoint's folder has more to say than its name in records.
    return call.models[0] if call and len(call.models) == 1 else run.model


def known_model(records: Iterable[Manifest], model: str) -> str:
    """What `--model` takes for a model's name in records; the text itself if none has that name."""
    arguments = (model_argument(record) for record in records if record.model == model)
    return next(arguments, model)


def command_like(record: Manifest, model: str) -> str:
    """The command that made a record, for another model: it measures the same of that model.

    `model` is what `--model` takes. Where it is the record's own name, the command stays as it was
    typed. So does a program's own command: nothing is known of what it takes.
    """
    call = _parsed(record)
    if call is None:
        return join(record.command)
    if model == record.model and len(call.models) < 2:
        return join(call.typed)
    return join([*call.program, *call.rest, *call.dims, "--model", model])


def measuring(benchmark: str, model: str, like: Manifest | None) -> str:
    """The command that measures a model on a benchmark, of which `like` is a record if there is one."""
    if like is None:
        return join(
            ["python", "-m", "evals.run", benchmark.removesuffix(PARTIAL), "--model", model]
        )
    if _DERIVED.fullmatch(like.whole_benchmark) or like.partial:
        return command_like(like, model)
    return join(["python", "-m", "evals.run", argument_of(like), "--model", model])


def scoring(record: Manifest, dim: int | None, precision: str | None) -> str | None:
    """The command that scores the model of a record at one more dimension or precision.

    None for what is scored in float32 alone, and at other precisions by no command.
    """
    model, dims = ["--model", model_argument(record)], ["--dims", str(dim)] if dim else []
    call = _parsed(record) if _DERIVED.fullmatch(record.whole_benchmark) else None
    if (call or record.mteb) and precision:
        return None
    if call:
        return join([*call.program, *call.rest, *dims, *model])
    if record.mteb:
        return join(["python", "-m", "evals.run", argument_of(record), *dims, *model])
    precisions = ["--precisions", precision] if precision else []
    start = ["python", "-m", "evals.mrl_sweep", "--benchmarks", argument_of(record)]
    return join([*start, *model, *dims, *precisions])


class _Call(NamedTuple):
    """A command line of ours, as it was typed, and its models and its `--dims` apart from the rest."""

    typed: list[str]
    program: list[str]
    models: list[str]
    dims: list[str]
    rest: list[str]


def _parsed(record: Manifest) -> _Call | None:
    """The command line of a record; None for a program's own.

    A watch measures whatever checkpoint comes next: its record is one of evals.run.
    """
    words = [*record.command]
    # `jina-clip-evals run` or `python -m evals.run`
    length = 2 if words[:1] == [CONSOLE_SCRIPT] else 3
    if length == 3 and not (words[1:2] == ["-m"] and words[2].startswith("evals.")):
        return None
    if words[length - 1 : length] in (["evals.watch"], ["watch"]):
        folder = record.encoder.source.get("folder")
        model = f"{record.model}={folder}" if folder else record.model
        program, rest = ["python", "-m", "evals.run"], [argument_of(record)]
        return _Call([*program, *rest, "--model", model], program, [model], [], rest)
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--model", "-m", action="append", default=[])
    parser.add_argument("--dims")
    try:
        options, rest = parser.parse_known_args(words[length:])
    except ArgumentError:  # no command of ours ends with --model: somebody wrote it
        return None
    dims = ["--dims", options.dims] if options.dims else []
    return _Call(words, words[:length], options.model, dims, rest)


def none_recorded(root: Path, runs: Sequence[Run], benchmark: str, model: str) -> str:
    """That there is no record of a benchmark by a model, what was likely meant, and how to make one."""
    start = f"{root}: no complete record of {benchmark} by {model}. {what_there_is(runs)}"
    if any(is_of_benchmark(run, model) and is_of_model(run, benchmark) for run in runs):
        return f"{start} The model goes first: {quote(benchmark)} {quote(model)}."
    if any(is_of_benchmark(run, model) for run in runs):
        return f"{start} {model} is a benchmark: write the models first, then the benchmark."
    of_benchmark = [run.manifest for run in runs if is_of_benchmark(run, benchmark)]
    known = {run.manifest.model for run in runs}
    near = [] if "/" in model else difflib.get_close_matches(model, known, n=1, cutoff=ALIKE)
    if of_benchmark and near:
        return f"{start} Did you mean {near[0]}?"
    if not runs:
        return start
    measured = {run.manifest.benchmark for run in runs}
    # As it was written: by its place, or by its name.
    measured |= {argument_of(run.manifest).partition("=")[2] for run in runs}
    alike = difflib.get_close_matches(benchmark, measured, n=1, cutoff=MISSPELLED)
    if alike and not of_benchmark:
        return f"{start} Did you mean {alike[0]}?"
    like = of_benchmark[0] if of_benchmark else None
    argument = known_model((run.manifest for run in runs), model)
    return f"{start} Measure it with: {measuring(benchmark, argument, like)}"


def what_there_is(runs: Sequence[Run]) -> str:
    """`There is photos by tiny.`, of the newest records; how to get some where there are none."""
    names = [f"{run.manifest.benchmark} by {run.manifest.model}" for run in runs]
    names.sort(key=natural)
    if not names:
        return "There is none at all: make demo leaves some of the bundled model, python -m evals.run those of another."
    return f"There is {', '.join(names[:MOST])}{' …' if len(names) > MOST else ''}."


def _same_place(recorded: str, written: str) -> bool:
    if recorded == written:
        return True
    return Path(recorded).expanduser().resolve() == Path(written).expanduser().resolve()
