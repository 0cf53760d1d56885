"""The wheel: what is in it, what it asks for, and that a read-only copy works from an empty folder."""

import base64
import csv
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from email.message import Message
from email.parser import BytesParser
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.test_library import BLOCKS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CI_RECORD = next((ROOT / "results/baselines/ci/scenes/tiny").iterdir())


def build(source: Path, out: Path) -> Path:
    """The wheel of some source, made by the declared build backend without a registry."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def info(wheel: Path, name: str) -> bytes:
    """A file of the wheel's dist-info."""
    with ZipFile(wheel) as archive:
        (place,) = (n for n in archive.namelist() if n.endswith(f".dist-info/{name}"))
        return archive.read(place)


def metadata(wheel: Path) -> Message:
    """The METADATA of the wheel."""
    return BytesParser().parsebytes(info(wheel, "METADATA"))


def sources(folder: str) -> set[str]:
    """The files of a folder of the repository; of git when there is git, so that no leftover counts."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run([*command, folder], capture_output=True, text=True, check=True)
        return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def test_it_holds_the_packages_and_the_configs_and_nothing_else(wheel):
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    configs = sources("configs") - {"configs/tiny/train.py"}
    expected = sources("evals") | sources("jina_clip")
    expected |= {name.replace("configs/", "evals/_configs/", 1) for name in configs}
    assert names - {"evals/_built.json"} == expected
    assert {"evals/_configs/tiny/model.safetensors", "evals/_configs/claims.yaml"} <= names


def test_its_record_lists_each_file_with_its_hash(wheel):
    lines = {line[0]: line[1:] for line in csv.reader(StringIO(info(wheel, "RECORD").decode()))}
    with ZipFile(wheel) as archive:
        assert set(lines) == set(archive.namelist())
        for name, (digest, size) in lines.items():
            if name.endswith("/RECORD"):
                continue
            data = archive.read(name)
            value = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={value}", len(data)), name


def test_its_metadata_is_that_of_the_project(wheel):
    told = metadata(wheel)
    assert (told["Name"], told["Version"]) == (PROJECT["name"], PROJECT["version"])
    core = [line for line in told.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(core) == sorted(PROJECT["dependencies"])
    assert set(told.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    entry = info(wheel, "entry_points.txt").decode()
    assert entry == "[console_scripts]\njina-clip-evals = evals.__main__:main\n"
    assert info(wheel, "WHEEL").decode().endswith("Root-Is-Purelib: true\nTag: py3-none-any\n")


def test_building_twice_gives_the_same_bytes(wheel, tmp_path):
    assert build(ROOT, tmp_path).read_bytes() == wheel.read_bytes()


def test_source_without_git_builds_a_wheel_that_claims_no_commit(tmp_path):
    source = tmp_path / "source"
    for name in ("evals", "jina_clip", "configs"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    with ZipFile(build(source, tmp_path)) as archive:
        assert "evals/_built.json" not in archive.namelist()


# A read-only copy


class Installed:
    """An installed copy that nothing can write to, in no folder that is git's or the project's."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.site, self.folder = site, folder
        home = folder.parent / "home"
        home.mkdir(mode=0o555)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(site)}

    def __call__(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the console script from the empty folder."""
        return self.run("jina-clip-evals", *map(str, words), code=code)

    def run(self, program: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment from the empty folder."""
        done = subprocess.run(
            [*without_privileges(), str(self.site / "bin" / program), *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done


def without_privileges() -> Sequence[str]:
    """What starts a command so that permissions hold for it; root may write whatever they say."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root without setpriv writes anywhere, so nothing is read-only")
    return ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")


def writable(folder: Path, *, yes: bool) -> None:
    """Let the folders and files below be written to, or not; files that others share by a link stay as they are."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
            continue
        path.chmod(mode | 0o200 if yes else mode & ~0o222)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The wheel, installed without its requirements: those of this environment stand behind it."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("no pip in this environment")
    root = tmp_path_factory.mktemp("installed")
    site, folder = root / "site", root / "empty"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True)
    folder.mkdir()
    writable(site, yes=False)
    yield Installed(site, folder)
    writable(site, yes=True)


def test_a_read_only_copy_evaluates_sweeps_reports_and_gates(installed, wheel):
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        author = ["-c", "user.name=x", "-c", "user.email=x@y.z"]
        subprocess.run(["git", *author, *words], cwd=installed.folder, check=True)
    with pytest.raises(AssertionError, match="Permission denied"):
        _touch(installed)
    few = ["--subsets", "en", "--limit", "20"]
    assert "Scenes · tiny" in installed("run", "scenes", "--model", "tiny", *few).stdout
    assert "kept" in installed("mrl-sweep", "--dims", "8,64", "--precisions", "int8", *few).stdout
    shown = installed("report", "--table", "v2post-coco").stdout
    assert "measured" in shown.lower()
    verdict = installed("regress", "--baseline", CI_RECORD, "--runs", CI_RECORD, "--json").stdout
    assert json.loads(verdict)["verdict"] == "passed"
    first, *_ = sorted((installed.folder / "results/runs/scenes.partial/tiny").iterdir())
    manifest = json.loads((first / "manifest.json").read_text())
    assert manifest["command"] == ["jina-clip-evals", "run", "scenes", "--model", "tiny", *few]
    assert manifest["encoder"]["source"]["folder"] == "configs/tiny"
    with ZipFile(wheel) as archive:  # not the commit of the folder it ran in
        built = "evals/_built.json" in archive.namelist()
        assert manifest["source"] == (
            json.loads(archive.read("evals/_built.json")) if built else None
        )
    assert {path.name for path in installed.folder.iterdir()} == {".git", "results"}


def _touch(installed: Installed) -> None:
    command = [*without_privileges(), "touch", str(installed.site / "evals" / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_edited_copy_says_that_it_was_changed(installed, wheel):
    with ZipFile(wheel) as archive:
        if "evals/_built.json" not in archive.namelist():
            pytest.skip("this source has no git, so the wheel claims nothing")
        dirty = json.loads(archive.read("evals/_built.json"))["dirty"]
    assert installed("--version").stdout.endswith(", changed since\n") == dirty
    file = installed.site / "jina_clip" / "text.py"
    before = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(before + b"\n")
    assert installed("--version").stdout.endswith(", changed since\n")
    file.write_bytes(before)
    file.chmod(0o444)


def test_what_needs_the_repository_says_so(installed):
    done = installed("report", "--check", code=2)
    assert "clone of the repository" in done.stderr


def test_each_help_of_an_installed_copy_answers(installed):
    shown = installed("--help").stdout.partition("Commands:\n")[2]
    names = [line.split()[0] for line in shown.splitlines()]
    assert {"run", "mrl-sweep", "report", "regress"} <= set(names)
    for name in names:
        assert installed(name, "--help").stdout.startswith(f"Usage: jina-clip-evals {name} ")
    assert PROJECT["version"] in installed("--version").stdout


# A fresh environment


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The wheel and what it requires, by uv from the registry, in an environment of their own."""
    root = tmp_path_factory.mktemp("fresh")
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(root / "venv")], check=True)
    python = root / "venv" / "bin" / "python"
    command = [uv, "pip", "install", "-q", "--python", str(python)]
    subprocess.run([*command, "-c", str(ROOT / "requirements.lock"), str(wheel)], check=True)
    (root / "empty").mkdir()
    copy = Installed(root / "venv", root / "empty")
    del copy.environment["PYTHONPATH"]
    writable(root / "venv", yes=False)
    yield copy
    writable(root / "venv", yes=True)


@pytest.mark.slow
def test_a_fresh_environment_runs_the_demo_the_sweep_the_report_and_the_gate(fresh):
    demo = fresh("run", "scenes", "--model", "tiny").stdout
    assert "mean 256 t2i" in demo
    sweep = fresh("mrl-sweep", "--dims", "8,16,32,64,128,256", "--subsets", "en").stdout
    assert "Scenes · tiny" in sweep
    assert "report.html" in fresh("report", "--all").stdout
    fresh("regress", "baseline", "set", "mine", "--why", "the first")
    assert "passed" in fresh("regress", "--baseline", "mine").stdout
    assert "index.html" in fresh("dashboard").stdout
    extras = fresh("run", "mteb:STSBenchmark", "--model", "tiny", code=5).stderr
    assert "jina-clip-evals[mteb]" in extras
    assert {path.name for path in fresh.folder.iterdir()} == {"results", "site"}


@pytest.mark.slow
def test_a_fresh_environment_runs_the_training_loop_of_the_docs(fresh):
    (loop,) = (block for block in BLOCKS if "for step in" in block)
    (tiny,) = (fresh.site / "lib").glob("*/site-packages/evals/_configs/tiny")
    (fresh.folder / "checkpoint").symlink_to(tiny)
    steps = fresh.run("python", "-c", loop).stdout.splitlines()
    assert len(steps) == 3 and all(0 < float(step.split()[1]) <= 1 for step in steps)
