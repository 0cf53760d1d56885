"""The means of a record in the words of mteb or CLIP_benchmark, to stand beside a result file of theirs."""

from pathlib import Path

from evals.analysis.stated import Mean, Stated, is_stated
from evals.analysis.stated_files import read_stated
from evals.records.selection import FULL, Measured, measured, newest, operand
from evals.records.tool_names import (
    CLIP_BENCHMARK,
    MTEB,
    clip_dataset,
    clip_metric,
    clip_task,
    mteb_mean,
)
from evals.schema import NotComparableError


def sides(a: str, b: str, results: Path) -> tuple[Stated, Stated]:
    """Both operands of a comparison of which one at least is a result file.

    The other may be a file too, a record's folder, or a model's name: that means its newest record
    below `results` which measured what the file did. NotComparableError when there is none.
    """
    if is_stated(a) and is_stated(b):
        return read_stated(Path(a)), read_stated(Path(b))
    if is_stated(a):
        file = read_stated(Path(a))
        return file, _beside(file, b, results)
    file = read_stated(Path(b))
    return _beside(file, a, results), file


def _beside(file: Stated, text: str, results: Path) -> Stated:
    which = operand(text)
    if which.path:
        return stated_by(measured(which, results, ""), file)
    benchmarks = sorted(benchmark for benchmark, model in newest(results) if model == which.name)
    for benchmark in benchmarks:
        try:
            means = stated_by(measured(which, results, benchmark), file)
        except NotComparableError:
            continue  # a record of something else
        if means.measured == file.measured:
            return means
    raise NotComparableError(
        f"{file.path} is of {', '.join(file.measured.values())}. Of {text} there are records of "
        f"{', '.join(benchmarks) or 'nothing'} below {results}. Name the folder of a record, or "
        "measure the same."
    )


def stated_by(record: Measured, file: Stated) -> Stated:
    """The means of a record at its dimension and precision, as the tool of `file` names them.

    NotComparableError when the tool has no name for what the record measured.
    """
    if file.tool == MTEB:
        return _in_words_of_mteb(record)
    return _in_words_of_clip_benchmark(record, file.measured["language"])


def _in_words_of_mteb(record: Measured) -> Stated:
    manifest, path = record.run.manifest, record.run.path
    task = manifest.mteb
    if task is None or task.revision is None:
        raise NotComparableError(
            f"{path}: {manifest.benchmark} is no task of mteb, and the other side is a file of mteb."
        )
    if manifest.partial:
        raise NotComparableError(f"{path}: measured in part. Measure all of {task.task}.")
    means = []
    for line in record.run.metrics:
        if (line.dim, line.precision) == record[1:] and line.name == record.run.main_metric:
            # mteb's split stands where other records have a direction
            name = mteb_mean(line.direction, line.subset)
            means.append(Mean(name, line.subset, line.direction, line.name, line.value))
    measured = {"task_name": task.task, "dataset_revision": task.revision}
    return Stated(path, MTEB, task.mteb_version, _model(record), measured, tuple(means))


def _in_words_of_clip_benchmark(record: Measured, language: str) -> Stated:
    means = []
    for line in record.run.metrics:
        if (line.dim, line.precision, line.subset) != (record.dim, record.precision, language):
            continue
        name = clip_metric(line)
        if name:
            means.append(Mean(name, line.subset, line.direction, line.name, line.value))
    if not means:
        raise NotComparableError(
            f"{record.run.path}: has no metric of CLIP_benchmark in the language {language!r} of "
            "the other side."
        )
    measured = {
        "dataset": clip_dataset(record.run),
        "task": clip_task([mean.name for mean in means]),
        "language": language,
    }
    return Stated(record.run.path, CLIP_BENCHMARK, None, _model(record), measured, tuple(means))


def _model(record: Measured) -> str:
    precision = "" if record.precision == FULL else f", {record.precision}"
    return f"{record.run.manifest.model_identity}, at {record.dim}{precision}"
