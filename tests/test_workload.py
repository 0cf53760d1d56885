"""One line tells how far all work of a command is, and only where a terminal shows it."""

import io
import os
import pty
import termios
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from evals.cli.app import Log
from evals.config.catalog import Benchmark, benchmark
from evals.config.models import ModelRef, resolve_model
from evals.config.own_data import DataRef
from evals.config.suites import task_ref
from evals.embeddings.store import Store
from evals.evaluation import pace
from evals.evaluation.dealing import dealing_of
from evals.evaluation.embedding import embed
from evals.evaluation.forecast import FEWEST
from evals.evaluation.load import Loaded, Parts
from evals.evaluation.pace import Pace
from evals.evaluation.recording import Costs, Measurement, write_record
from evals.evaluation.workload import WorkLine, WorkReporter, work_line
from evals.jobs import evaluate_all
from evals.progress import SILENT, Silent, encoding_progress
from evals.settings import Settings
from tests import records
from tests.toys import HashEncoder, image_text

IMAGES, TEXTS = 4, 8
END = "<end>"
DATA = image_text([0, 0, 1, 1, 2, 2, 3, 3])
OWN = DataRef("captions", "somewhere", "captions:somewhere")


class Lines(Silent):
    """A reporter whose terminal is a list."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []

    @contextmanager
    def line(self) -> Iterator[Callable[[Sequence[str]], None]]:
        yield lambda pieces: self.lines.append(tuple(pieces))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(results=tmp_path / "runs", store=tmp_path / "store")


@pytest.fixture(autouse=True)
def two_seconds_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 2))
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: next(seconds)))


def row(name: str, subsets: tuple[str, ...] = ("en",)) -> Benchmark:
    counts = {"name": name, "subsets": subsets, "images": IMAGES, "texts": TEXTS}
    return benchmark("flickr").model_copy(update=counts)


def ref(name: str = "toy") -> ModelRef:
    return resolve_model(f"{name}=tiny")


def loaded(row: Benchmark) -> Loaded:
    return Loaded(row, Parts({"en": DATA}, None))


def measure(line: WorkReporter, row: Benchmark, encoder: HashEncoder, settings: Settings) -> None:
    line.begin(row, ref(encoder.name))
    line.plan(encoder, loaded(row))
    for side in DATA.sides:
        embed(Store(settings.store), encoder, side, Costs(), reporter=line)


def test_the_line_tells_benchmark_items_time_and_rate(settings: Settings) -> None:
    shown = Lines()
    first, second = row("first"), row("second", ("en", "de"))
    with work_line(shown, [first, second], [ref()], settings) as line:
        measure(line, first, HashEncoder(), settings)
        at_the_end_of_first = shown.lines[-1]
        measure(line, second, HashEncoder(), settings)
    # Languages share their images: 4 + 8 of the first, 4 + 2 x 8 of the second.
    assert shown.lines[0] == ("benchmark 1 of 2", "0 of about 32 items", "first by toy")
    # 4 images in 2 s, and then 8 texts in 2 s
    name, items, left, rate = "benchmark 1 of 2", "4 of about 32 items", "more than 2 s left", "2.0"
    assert (name, items, left, f"{rate} images/s", "first by toy") in shown.lines
    # 4 images at 2 per second, 16 texts at 4 per second
    items, left, rate = "12 of about 32 items", "about 6 s left", "4.0 texts/s"
    assert at_the_end_of_first == (name, items, left, rate, "first by toy")
    # All of it is stored, since both have the same items.
    assert shown.lines[-1] == ("benchmark 2 of 2", "12 of 12 items", "second by toy")


def test_of_a_part_of_a_plan_the_line_counts_what_the_plan_gives_it(settings: Settings) -> None:
    shown = Lines()
    first, second = row("first"), row("second")
    planned = {("first", "toy"): Counter(image=3), ("second", "toy"): Counter(text=2)}
    with work_line(shown, [first, second], [ref()], settings, planned) as line:
        line.begin(first, ref())
        line.plan(HashEncoder(), loaded(first))
        with encoding_progress(line, "", "image") as progress:
            progress(3, 3)
        line.begin(second, ref())
    items = [pieces[1] for pieces in shown.lines]
    assert items[0] == "0 of 5 items" and items[-1] == "3 of 5 items"


def test_what_a_record_says_is_stored_does_not_lie_ahead(settings: Settings) -> None:
    encoder, both = HashEncoder(), [row("first"), row("second")]
    measurement = Measurement(
        row=both[1],
        encoder=encoder,
        settings=settings,
        parts=loaded(both[1]).parts,
        dims=(8,),
        precisions=("float32",),
        scores={"en": _scores(encoder)},
        costs=Costs({"encode_image": 10.0}, Counter({"image": 5 * FEWEST, "text": 1})),
        started=1e9,
        zero_rows=0,
    )
    write_record(measurement)
    shown = Lines()
    with work_line(shown, both, [ref()], settings) as line:
        measure(line, both[0], encoder, settings)
    # The record's 16 images per second hold until as many were encoded now; of texts it says nothing.
    pieces = ("0 of 12 items", "16 images/s", "first by toy")
    assert ("benchmark 1 of 2", *pieces) in shown.lines
    # Of a part of it nothing was measured.
    part = Settings(results=settings.results, store=settings.store, limit=2)
    with work_line(shown, both, [ref()], part) as line:
        measure(line, both[0], encoder, part)
    assert shown.lines[-1][1] == "0 of about 6 items"


def _scores(encoder: HashEncoder) -> list:
    from evals.tasks import task_for

    rows = [encoder.encode(side) for side in DATA.sides]
    choices = {"dims": (8,), "precisions": ("float32",), "device": "cpu"}
    return task_for("image_text", encoder).score(rows, DATA, **choices)


def test_of_own_data_and_other_models_more_lies_ahead_than_is_known(settings: Settings) -> None:
    shown = Lines()
    work = [row("first"), OWN]
    with work_line(shown, work, [ref("a"), ref("b")], settings) as line:
        measure(line, work[0], HashEncoder(name="a"), settings)
    name, items = "evaluation 1 of 4", "12 of more than 24 items"
    assert shown.lines[-1] == (name, items, "4.0 texts/s", "first by a")


def test_the_pace_of_one_model_says_nothing_of_the_next(settings: Settings) -> None:
    shown, only = Lines(), row("first")
    (settings.results / "first" / "b" / "broken").mkdir(parents=True)
    (settings.results / "first" / "b" / "broken" / "manifest.json").write_text("{")
    with work_line(shown, [only], [ref("a"), ref("b")], settings) as line:
        measure(line, only, HashEncoder(name="a"), settings)
        line.begin(only, ref("b"))
        before_it_is_loaded = shown.lines[-1]
        # its records are broken, and tell nothing
        line.plan(HashEncoder(name="b", fingerprint={"weights": "other"}), loaded(only))
    expected = ("evaluation 2 of 2", "12 of about 24 items", "first by b")
    assert before_it_is_loaded == expected
    assert shown.lines[-1] == ("evaluation 2 of 2", "12 of 24 items", "first by b")


def test_a_record_that_names_no_encoder_tells_nothing(settings: Settings) -> None:
    shown, only = Lines(), row("first")
    records.write(settings.records, [records.line()], model="toy", encoder={})
    with work_line(shown, [only], [ref()], settings) as line:
        measure(line, only, HashEncoder(), settings)
    assert shown.lines[-1][0] == "12 of 12 items"


def test_a_limit_takes_as_many_images_and_their_share_of_texts(settings: Settings) -> None:
    shown = Lines()
    limited = Settings(results=settings.results, store=settings.store, limit=2)
    scifact = benchmark("scenes").model_copy(
        update={"name": "texts", "task": "retrieval", "size": {"queries": 5, "documents": 90}}
    )
    with work_line(shown, [row("first"), scifact], [ref()], limited) as line:
        line.begin(row("first"), ref())
    # 2 images and 4 texts; 2 queries and all documents
    assert shown.lines[-1][1] == f"0 of about {2 + 4 + 6 * (2 + 90)} items"


def test_a_task_of_mteb_tells_what_there_is_when_it_encodes(settings: Settings) -> None:
    shown, task = Lines(), task_ref("mteb:STSBenchmark")
    with work_line(shown, [task], [ref()], settings) as line:
        line.begin(task, ref())
        line.plan(HashEncoder(), None)
        with encoding_progress(line, "its texts", "text") as progress:
            progress(0, 10)
            progress(4, 10)
    # 4 texts in 2 s
    pieces = ("4 of more than 10 items", "more than 3 s left", "2.0 texts/s")
    assert shown.lines[-1] == (*pieces, "mteb:STSBenchmark by toy")


def test_what_workers_encode_is_images_first(settings: Settings) -> None:
    shown = Lines()
    first = row("first")
    with work_line(shown, [first], [ref()], settings) as line:
        line.begin(first, ref())
        line.plan(HashEncoder(), loaded(first))
        dealing = dealing_of(loaded(first), HashEncoder(), settings)
        assert [shard.kind for shard in dealing.shards] == ["image", "text"]
        with encoding_progress(line, "by 2 processes", None) as progress:
            progress(3, 12)
            progress(6, 12)
    # 3 images in 2 s; then one in as long as two texts
    assert shown.lines[-2][-2:] == ("1.5 images/s", "first by toy")
    assert shown.lines[-1][0] == "6 of 12 items" and "texts/s" in shown.lines[-1][-2]


def test_start_up_counts_only_until_more_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 100.0, 101.0, 102.0])
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    measured = Pace({})
    measured.start()
    measured.count("image", 50)
    assert measured.rate("image") == 0.5
    measured.count("image", FEWEST - 1)
    assert measured.rate("image") == 0.5
    measured.count("image", 1)
    assert measured.rate("image") == FEWEST / 2
    assert measured.rate("text") is None


def test_without_a_terminal_all_is_as_before(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for reporter in (Log(), SILENT):
        with work_line(reporter, [row("first")], [ref()], settings) as line:
            assert not isinstance(line, WorkLine)
            measure(line, row("first"), HashEncoder(), settings)
    assert capsys.readouterr() == ("", "")


def test_all_work_of_a_command_is_told(settings: Settings) -> None:
    shown = Lines()
    small = Settings(results=settings.results, store=settings.store, limit=2, subsets=("en",))
    missing = DataRef("captions", str(settings.store / "nowhere"), "own")
    results = evaluate_all(
        [missing, benchmark("scenes")], ["tiny"], lambda w: (w,), small, reporter=shown
    )
    assert len(results.outcomes) == len(results.failures) == 1
    assert shown.lines[0][0] == "benchmark 1 of 2"
    assert shown.lines[-1][:2] == ("benchmark 2 of 2", "6 of 6 items")


@pytest.mark.parametrize(("columns", "line"), [(60, "one · two · three"), (12, "one · two")])
def test_a_terminal_gets_the_pieces_it_has_room_for_and_messages_above(
    columns: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    raw = os.fdopen(theirs, "wb", 0)
    with io.TextIOWrapper(raw, write_through=True) as terminal, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", terminal)
        log = Log()
        with log.line() as show:
            assert show is not None
            show(["one", "two", "three"])
            log.info("a message")
        terminal.write(END)
        text = _until_end(ours)
    os.close(ours)
    before, after = text.split("a message\r\n")
    assert before.count(line) == 1 and after.count(line) == 1
    assert ("three" in text) == (columns == 60)
    # It is taken away before a message and in the end.
    assert before.endswith("\r") and after.endswith("\r")


def _until_end(terminal: int) -> str:
    """What was written to a terminal, which gives it out in parts and not at once."""
    text = ""
    while not text.endswith(END):
        text += os.read(terminal, 10_000).decode()
    return text.removesuffix(END)
