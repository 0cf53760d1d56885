"""Whatever a signed record says, all that read it either do, or refuse it in words that name it."""

import io
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import evals
from evals.analysis.comparison import compare
from evals.analysis.mistakes import chosen_cell, find_mistakes
from evals.config.catalog import benchmarks
from evals.dashboard.history import read_history
from evals.dashboard.site import Verdicts, build
from evals.dashboard.verdicts import gate_rows
from evals.evaluation.evaluate import evaluate
from evals.evaluation.load import Parts
from evals.evaluation.names import check_name
from evals.evaluation.points import points_of
from evals.export.forms import FORMS, export
from evals.records.queries import per_query
from evals.records.record import read_queries, read_run
from evals.records.selection import matched, measured, newest, operand
from evals.regress import outputs
from evals.regress.environment import changed
from evals.regress.gates import read_gates
from evals.regress.runs import against
from evals.regress.sanity import faults
from evals.regress.table import print_baseline, print_verdict
from evals.report import as_csv, as_html, as_json
from evals.report import names as report_names
from evals.report.measured import Records
from evals.report.tables import table
from evals.report.verdicts import judge
from evals.schema import EvalError
from evals.settings import Settings
from evals.views import comparison as comparison_view
from evals.views import mistakes as mistakes_view
from evals.views.sweep_table import bars
from tests import records
from tests.faults import SEED, rounds
from tests.faults.mutations import mutate
from tests.published_toys import write_record
from tests.regress_records import record, scores
from tests.toys import HashEncoder, image_text

TABLE = "v2post-flickr30k"
T2I = report_names.Place("flickr-quoted", None, "en", "t2i", "R@5", None)
GATES = read_gates()


class Place:
    """A mutated record in `root`, and the whole one that it was in `whole`."""

    def __init__(self, folder: Path, path: Path, original: Path) -> None:
        self.root, self.whole = folder / "mutated", folder / "whole"
        self.path, self.original = path, original
        self.out = folder / "out"


def ranks(root: Path) -> Path:
    """A sweep of two languages in both directions."""
    cells = {
        subset: [scores([0, 1, 7, 0], direction=direction, dim=dim) for dim in (8, 4) for direction in ("t2i", "i2t")]
        for subset in ("en", "de")
    }  # fmt: skip
    row = {"title": "Toy", "task": "image_text"}
    return record(root, cells, config={"dims": [8, 4], "store": "store", "data": None, "row": row})


def published(root: Path) -> Path:
    """A record that a published table counts."""
    values = {T2I: 0.9, T2I._replace(direction="i2t"): 0.95}
    return write_record(root, "flickr-quoted", "jina-clip-v2", values)


def task(root: Path) -> Path:
    """A record of a retrieval task of mteb."""
    table = records.values(6, value=np.linspace(0, 1, 6))
    about = {"task": "T", "query_metric": "ndcg_at_10", "lengths": {"texts": 9, "truncated": 1}}
    lines = [records.line(name, direction="test") for name in ("ndcg_at_10", "map_at_10")]
    return records.write(root, lines, table, benchmark="mteb.T", mteb=about)


def pairs(root: Path) -> Path:
    """A record of a text similarity task of mteb."""
    table = records.values(6, score=np.linspace(0, 1, 6), gold=np.linspace(1, 0, 6) ** 2)
    lines = [records.line("cosine_spearman", -1.0, direction="test")]
    return records.write(root, lines, table, benchmark="mteb.S", mteb={"task": "S"})


def classes(root: Path) -> Path:
    """A record of a classification."""
    table = records.queries(6, direction="", label=[0, 1, 2] * 2, average_precision=0.5)
    lines = [records.line(name, 1.0, direction="") for name in ("acc@1", "acc@5", "mAP")]
    return records.write(
        root,
        lines,
        table,
        benchmark="shapes",
        config={"dims": [8], "row": {"task": "classification"}},
    )


def mistaken(root: Path) -> Path:
    """A record whose worst queries can be shown, with its embeddings beside it."""
    data = image_text([0, 0, 1, 1, 2, 2])
    row = benchmarks()["scenes"]
    settings = Settings(results=root, store=root.parent / "store")
    return evaluate(
        row, Parts({"en": data}, {"limit": 3, "seed": 0}), HashEncoder(), (8, 4), settings
    ).path


KINDS = {
    "ranks": ranks,
    "published": published,
    "task": task,
    "pairs": pairs,
    "classes": classes,
    "mistaken": mistaken,
}


def read_all(place: Place) -> None:
    run = read_run(place.path)
    read_queries(run)
    per_query(run)
    faults(run)
    changed(read_run(place.original).manifest.raw, run.manifest.raw)


def sweep(place: Place) -> None:
    bars(points_of(read_run(place.path)))


def front_door(place: Place) -> None:
    for run in evals.list_runs(place.root):
        run.metrics()
        run.queries()
        run.width  # noqa: B018 - what a caller may ask for
    evals.compare(evals.read_run(place.original), evals.read_run(place.path))


def gate(place: Place) -> None:
    """As the run, and as the baseline."""
    for baseline, results in ((place.whole, place.root), (place.root, place.whole)):
        verdict = against(str(baseline), None, results, GATES)
        outputs.as_json(verdict)
        outputs.as_markdown(verdict)
        outputs.as_junit(verdict)
        print_verdict(verdict, Console(file=io.StringIO()))
    print_baseline([read_run(place.path)], [], Console(file=io.StringIO()))


def report(place: Place) -> None:
    judged = judge(table(TABLE), Records(place.root), {})
    as_json.as_json([judged], [])
    as_csv.page([judged])
    as_html.page([judged], [])


def dashboard(place: Place) -> None:
    rows = gate_rows(place.root, place.whole.parent)
    build(read_history(place.root), Verdicts(rows), place.out)


def comparison(place: Place) -> None:
    newest(place.root)
    run_pairs = matched(operand(str(place.original)), operand(str(place.path)), place.root)
    changes = compare(run_pairs)
    title = comparison_view.Title.of(run_pairs)
    comparison_view.as_markdown(title, changes, "")
    comparison_view.as_json(run_pairs, changes)


def exports(place: Place) -> None:
    """In every form that another tool reads; which ones a record has no place in is no fault."""
    for form in FORMS:
        with suppress(EvalError):
            export([read_run(place.path)], form)


def mistakes(place: Place) -> None:
    run, dim, _ = measured(operand(str(place.path)), place.root, "")
    cell = chosen_cell(run, None, "t2i", dim)
    page = find_mistakes(run, cell, top=3, store=place.root.parent / "store")
    mistakes_view.as_json(page)
    mistakes_view.as_markdown(page)


def model_names(place: Place) -> None:
    check_name(HashEncoder(name="m"), place.root, chosen=True)


READERS: tuple[Callable[[Place], None], ...] = (
    read_all, sweep, front_door, gate, report, dashboard, comparison, exports, mistakes, model_names,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_record_is_read_or_refused_by_all_who_read_records(
    kind, tmp_path, monkeypatch, record_property
):
    """`load_parts` gives the toy data, because drawing Scenes takes longer than all readers together."""
    monkeypatch.setattr(
        "evals.analysis.recorded.load_parts",
        lambda row, settings: Parts({"en": image_text([0, 0, 1, 1, 2, 2])}, None),
    )
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    original = KINDS[kind](tmp_path / "whole")
    cases = range(SEED, SEED + rounds(180, 10_000) // len(KINDS))
    refused = 0
    for case in cases:
        rng = random.Random(f"{kind} {case}")
        shutil.rmtree(tmp_path / "mutated", ignore_errors=True)
        copy = tmp_path / "mutated" / original.relative_to(tmp_path / "whole")
        shutil.copytree(original, copy)
        path, change = mutate(copy, rng)
        place = Place(tmp_path, path, original)
        # all readers in turn, two of them and the plain reading each time
        readers = {read_all, READERS[case % len(READERS)], READERS[(case + 4) % len(READERS)]}
        for reader in readers:
            refused += not reads(reader, place, f"seed {case}, {change}, {reader.__name__}")
    assert refused > len(cases) / 3
    record_property("faults: generated records", len(cases))


def reads(reader: Callable[[Place], None], place: Place, what: str) -> bool:
    """Whether a reader read the record; AssertionError for any failure but a typed one."""
    try:
        reader(place)
    except EvalError as error:
        assert str(error), what
        return False
    except Exception as error:
        raise AssertionError(what) from error
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_mutated_is_read_by_all_who_read_its_kind(kind, tmp_path, monkeypatch):
    """Else a reader that refuses everything would pass for a strict one."""
    monkeypatch.setattr(
        "evals.analysis.recorded.load_parts",
        lambda row, settings: Parts({"en": image_text([0, 0, 1, 1, 2, 2])}, None),
    )
    original = KINDS[kind](tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "mutated")
    place = Place(
        tmp_path, tmp_path / "mutated" / original.relative_to(tmp_path / "whole"), original
    )
    for reader in (read_all, gate, report, dashboard, front_door):
        if reader is front_door and kind == "published":
            continue  # two records of one query each have nothing to compare
        reader(place)
    if kind == "mistaken":
        mistakes(place)
    if kind in ("ranks", "task", "pairs", "classes"):
        comparison(place)
