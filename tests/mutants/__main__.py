"""Plant every stated fault in a copy of the working tree, run its test there, and say which faults survive.

python -m tests.mutants [LIST...] [--jobs N]     exit code 0 none survives, 1 some do, 2 an entry or a test is wrong
"""

import argparse
import itertools
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from evals.schema import ConfigError
from tests.mutants import FOLDER, Mutant, read_mutants

ROOT = Path(__file__).parents[2]
SECONDS = 600  # a fault that makes its test run longer is noticed, too
RANKING = "evals/ranking/"  # where the compiled loop is
# exit codes of pytest; 2 is an import that fails, 4 and 5 a test that is not there
PASSED, FAILED = 0, 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__.split("\n")[0]
    )
    parser.add_argument("lists", nargs="*", help="Names of lists; all unless given.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="Tests at a time.")
    arguments = parser.parse_args()
    mutants = [
        mutant
        for mutant in read_mutants(FOLDER)
        if not arguments.lists or mutant.name.split()[0] in arguments.lists
    ]
    try:
        return plant(mutants, ROOT, jobs=arguments.jobs)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def plant(mutants: Sequence[Mutant], root: Path, *, jobs: int) -> int:
    """Run the test of each mutant in a copy of the repository at `root`, and print what became of it; the exit code."""
    for mutant in mutants:
        mutant.applied(root)
    with copies(root, jobs) as free, ThreadPoolExecutor(jobs) as pool:

        def in_a_copy(run: Callable[[Path], int]) -> int:
            copy = free.get()
            try:
                return run(copy)
            finally:
                free.put(copy)

        broken = failing({mutant.test for mutant in mutants}, jobs, in_a_copy, pool)
        if broken:
            raise ConfigError(f"without a fault {', '.join(broken)} does not pass. Mend it first.")
        survivors = 0
        codes = pool.map(lambda mutant: in_a_copy(lambda copy: planted(mutant, copy)), mutants)
        for mutant, code in zip(mutants, codes, strict=True):
            survived = code == PASSED
            survivors += survived
            verdict = "SURVIVED" if survived else "noticed"
            print(f"{verdict:8}  {mutant.name:24}  {mutant.file}: {mutant.why}", flush=True)
    print(
        f"{len(mutants)} faults planted, {len(mutants) - survivors} noticed, {survivors} survived"
    )
    return FAILED if survivors else PASSED


def failing(
    tests: set[str], jobs: int, in_a_copy: Callable[[Callable[[Path], int]], int], pool: Executor
) -> list[str]:
    """The tests that fail without a fault. Many run in one process; only if that fails, each alone."""
    shares = [share for place in range(jobs) if (share := sorted(tests)[place::jobs])]

    def run(share: Sequence[str]) -> int:
        return in_a_copy(
            lambda copy: outcome(share, copy, compiled=copy, patience=SECONDS * len(share))
        )

    failed = [share for share, code in zip(shares, pool.map(run, shares), strict=True) if code]
    suspects = list(itertools.chain.from_iterable(failed))
    codes = pool.map(lambda test: run([test]), suspects)
    return [test for test, code in zip(suspects, codes, strict=True) if code != PASSED]


def planted(mutant: Mutant, copy: Path) -> int:
    """The exit code of the mutant's test with the fault in `copy`, which is whole again afterwards."""
    path = copy / mutant.file
    original = path.read_bytes()
    path.write_text(mutant.applied(copy), encoding="utf-8")
    try:
        # numba keeps what it compiled, and does not see a change in a file that the loop calls
        return outcome([mutant.test], copy, compiled=None if RANKING in mutant.file else copy)
    finally:
        path.write_bytes(original)


def outcome(
    tests: Sequence[str], copy: Path, *, compiled: Path | None = None, patience: int = SECONDS
) -> int:
    """pytest's exit code for tests in a copy, up to the first failure.

    What numba compiles is kept below `compiled`; None keeps nothing.
    """
    with tempfile.TemporaryDirectory() as fresh:
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy),
            # a fault of the same size in the same second looks unchanged
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(compiled / ".numba") if compiled else fresh,
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        try:
            return subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, timeout=patience
            ).returncode
        except subprocess.TimeoutExpired:
            return FAILED


@contextmanager
def copies(root: Path, count: int) -> "Iterator[queue.Queue[Path]]":
    """So many clones of the repository, with what is changed or new in its working tree."""
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--modified", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    changed = [name for name in listed.split("\0") if name]
    free: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for number in range(count):
            copy = Path(folder) / str(number)
            subprocess.run(["git", "clone", "-q", "--shared", root, copy], check=True)
            for name in changed:
                (copy / name).unlink(missing_ok=True)
                if (root / name).exists():
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(root / name, copy / name)
            free.put(copy)
        yield free


if __name__ == "__main__":
    sys.exit(main())
