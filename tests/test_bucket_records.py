"""Records in a bucket are those of a folder to the byte: whole, with the seal last, and read by every command."""

import json
from pathlib import Path

import numpy as np
import pytest

import evals
from evals.records.additions import write_into
from evals.records.exchange import open_records
from evals.records.record import list_runs, read_run
from evals.records.seal import SEAL, as_seal, check_seal
from evals.schema import InvalidError, MissingError
from tests.bucket_dialects import DIALECTS
from tests.bucket_server import FAULTS, KEY_ID, SECRET, Server, be_on, serving
from tests.commands import run
from tests.records import line, write

pytestmark = pytest.mark.faults


@pytest.fixture
def scheme() -> str:
    """The provider of the bucket, unless a test names several."""
    return "s3"


@pytest.fixture
def server(tmp_path, monkeypatch, scheme):
    with serving(tmp_path / "server", scheme) as server:
        be_on(monkeypatch, server, tmp_path / "cache")
        yield server


@pytest.fixture
def url(server: Server) -> str:
    return server.url("runs")


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder but that which names its bucket."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if name != ".bucket"}


@pytest.mark.parametrize("scheme", DIALECTS)
def test_a_record_is_uploaded_as_it_is_and_fetched_elsewhere(server, url, tmp_path, monkeypatch):
    server.every, server.slow = 10, 0.002
    here = open_records(url)
    for _ in range(6):
        write(here, [line()])
    assert server.objects("runs") == files(here)
    be_on(monkeypatch, server, tmp_path / "another machine")
    server.every = 3
    there = open_records(url)
    assert there != here
    assert files(there) == files(here)
    assert len([read_run(path) for path in list_runs(there)]) == 6
    assert set(server.met) == set(FAULTS)


def test_a_record_without_its_seal_is_no_record_yet(server, url, tmp_path, monkeypatch):
    folder = write(open_records(url), [line()])
    (server.folder / "runs").joinpath(*folder.parts[-3:], SEAL).unlink()
    machine = tmp_path / "another machine"
    be_on(monkeypatch, server, machine)
    assert list_runs(open_records(url)) == []
    # the machine that was writing it comes back
    be_on(monkeypatch, server, tmp_path / "cache")
    open_records(url)
    be_on(monkeypatch, server, machine)
    assert len(list_runs(open_records(url))) == 1


def test_a_record_that_could_not_be_uploaded_is_by_the_next_command(server, url):
    here = open_records(url)
    server.forbidden = True
    with pytest.raises(MissingError, match="goes on") as error:
        write(here, [line()])
    assert SECRET not in str(error.value) and KEY_ID not in str(error.value)
    assert server.objects("runs") == {}
    server.forbidden = False
    assert len(list_runs(open_records(url))) == 1
    assert server.objects("runs") == files(here)


def test_what_two_machines_lay_into_a_record_both_have(server, url, tmp_path, monkeypatch):
    folder = write(open_records(url), [line()])
    be_on(monkeypatch, server, tmp_path / "another machine")
    other = open_records(url).joinpath(*folder.parts[-3:])
    write_into(other / "other.png", b"other")
    be_on(monkeypatch, server, tmp_path / "cache")
    write_into(folder / "one.png", b"one")
    open_records(url)
    be_on(monkeypatch, server, tmp_path / "another machine")
    open_records(url)
    for place in (folder, other):
        checked = check_seal(place)
        assert checked is not None
        assert (checked.problems, checked.unnamed) == ([], [])
        assert (place / "other.png").read_bytes() + (place / "one.png").read_bytes() == b"otherone"


@pytest.mark.parametrize(
    "new", [b"drawn again, larger", b"new"], ids=["another size", "equal size"]
)
def test_a_figure_that_is_drawn_again_replaces_the_old_one_and_no_reader_puts_it_back(
    server, url, tmp_path, monkeypatch, new
):
    folder = write(open_records(url), [line()])
    write_into(folder / "forest.png", b"old")
    be_on(monkeypatch, server, tmp_path / "another machine")
    other = open_records(url).joinpath(*folder.parts[-3:])
    be_on(monkeypatch, server, tmp_path / "cache")
    write_into(folder / "forest.png", new)
    be_on(monkeypatch, server, tmp_path / "another machine")
    write_into(other / "x.md", b"x")
    be_on(monkeypatch, server, tmp_path / "cache")
    open_records(url)
    assert (folder / "forest.png").read_bytes() == new
    assert (folder / "x.md").read_bytes() == b"x"
    checked = check_seal(folder)
    assert checked is not None and (checked.problems, checked.unnamed) == ([], [])
    assert server.objects("runs") == files(folder.parents[2])


def test_a_file_that_was_changed_in_the_bucket_is_refused(server, url, tmp_path, monkeypatch):
    folder = write(open_records(url), [line()])
    changed = (server.folder / "runs").joinpath(*folder.parts[-3:], "metrics.jsonl")
    changed.write_bytes(changed.read_bytes().replace(b"0.", b"1."))
    be_on(monkeypatch, server, tmp_path / "another machine")
    with pytest.raises(InvalidError, match=r"metrics\.jsonl"):
        open_records(url)


@pytest.mark.parametrize("name", ["../../escaped", "{}/secret"])
def test_a_seal_cannot_name_files_outside(server, url, tmp_path, monkeypatch, name):
    (tmp_path / "secret").write_text("secret")  # there already, so nothing has to be fetched
    folder = write(open_records(url), [line()])
    seal = (server.folder / "runs").joinpath(*folder.parts[-3:], SEAL)
    seal.write_bytes(as_seal({name.format(tmp_path): "0" * 64}))
    be_on(monkeypatch, server, tmp_path / "another machine")
    with pytest.raises(InvalidError, match="outside"):
        open_records(url)


def test_a_folder_stays_a_folder(tmp_path):
    folder = write(open_records(tmp_path / "runs"), [line()])
    assert folder.is_relative_to(tmp_path / "runs")
    assert open_records("results/runs") == Path("results/runs")


def test_programs_and_commands_write_to_a_bucket_and_read_from_it(
    server, url, tmp_path, monkeypatch
):
    server.every = 10
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((6, 8)).astype(np.float32)
    image_of_text = [0, 1, 2, 3, 4, 5, 5]
    for name in ("first", "second"):
        record = evals.score(rows, rows[image_of_text], image_of_text, benchmark=name, results=url)
    manifest = json.loads((record.path / "manifest.json").read_text())
    assert manifest["config"]["results"] == url
    be_on(monkeypatch, server, tmp_path / "another machine")
    assert len(evals.list_runs(url)) == 2
    done = run("--results", url, "--out", "site", "--json", module="evals.dashboard", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == 2
    done = run(url, "--json", module="evals.verify", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
