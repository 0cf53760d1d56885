"""The examples of docs/scale for schedulers say what the schedulers understand, and do what a run does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evals.__main__ import COMMANDS
from tests.commands import ROOT, process, run
from tests.sbatch import options_of, tasks_of
from tests.test_encode import bytes_of

EXAMPLES = ROOT / "docs" / "scale"
SLURM = EXAMPLES / "slurm-array.sh"
JOB = EXAMPLES / "kubernetes-indexed-job.yaml"
SLURM_RAY = EXAMPLES / "slurm-ray.sh"
RAY_JOB = EXAMPLES / "kuberay-job.yaml"
# Each notes what it was called with. `ray health-check` answers once a head was started.
STAND_INS = {
    "srun": """[[ "$1" == --kill-on-bad-exit=0 ]] && shift
trap 'kill $(jobs -p)' TERM
for node in 0 1 2 3; do SLURM_NODEID=$node "$@" & done
wait""",
    "ray": """case "$1 $2" in
    health-check*) [[ -e head ]] ;;
    *) echo "$SLURM_NODEID $RAY_AUTH_TOKEN $*" >> started
       [[ "$*" == *--head* ]] && touch head
       exec sleep 60 ;;
esac""",
    "python": """if [[ "$1" == -c ]]; then echo token; exit; fi
until [[ $(wc -l < started) == 4 ]]; do sleep 0.05; done
echo "$*" > command
exit 3""",
}
BIN = Path(sys.executable).parent
WORK = ("scenes", "--model", "tiny", "--limit", "260", "--subsets", "en,de")


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_a_script(script):
    done = subprocess.run(
        [BIN / "shellcheck", "--enable=all", "--exclude=SC2154,SC2312", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


def test_the_array_has_as_many_tasks_as_the_plan_has_parts():
    tasks = tasks_of(options_of(SLURM)["array"])
    assert tasks == list(range(1, 65))
    assert f"PARTS=${{PARTS:-{len(tasks)}}}" in SLURM.read_text()


def test_kubernetes_knows_every_field_of_the_job():
    import kubernetes_validate

    job = yaml.safe_load(JOB.read_text())
    kubernetes_validate.validate(job, "1.37.0", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job | {"spec": {"completions": "64"}}, "1.37.0", strict=True)


def test_an_index_of_the_job_is_a_part_of_the_plan():
    """The shell of the container, with a command in place of ours that says what it was called with."""
    spec = yaml.safe_load(JOB.read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["PARTS"] == str(spec["completions"])
    words = [*container["command"], container["args"][0].replace("exec jina-clip-evals", "echo")]
    for index in (0, spec["completions"] - 1):
        environment["JOB_COMPLETION_INDEX"] = str(index)
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        command, *arguments = done.stdout.split()
        assert command in COMMANDS
        assert arguments[-2:] == ["--shard", f"{index + 1}/64"]
        assert arguments[arguments.index("--plan") + 1] == "/shared/plan.json"


@pytest.mark.faults
def test_an_array_of_which_a_task_is_preempted_makes_the_store_of_a_run(tmp_path):
    # a process of its own: in this one other tests may have set fewer threads, and the last bits differ
    done = process(*WORK, "--store", "alone", cwd=tmp_path, module="evals.encode")
    assert done.returncode == 0, done.stderr
    work = (*WORK, "--store", "store")
    done = run(*work, "--make-plan", "plan.json", cwd=tmp_path, module="evals.encode")
    assert done.returncode == 0, done.stderr
    environment = {"PYTHONPATH": str(ROOT), "PARTS": "2", "PATH": f"{BIN}:{os.environ['PATH']}"}
    array = subprocess.run(
        [sys.executable, "-m", "tests.sbatch", "--array=1-2", SLURM, *work, "--plan", "plan.json"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert array.returncode == 0, array.stderr
    # both parts, and the second of them twice
    assert array.stderr.count("part 1 of 2") == 1 and array.stderr.count("part 2 of 2") == 2
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "alone")


def test_the_ray_job_of_slurm_starts_a_node_everywhere_and_ends_as_the_command_does(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "70123"}
    done = subprocess.run(
        [SLURM_RAY, "flickr", "--store", "a b"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    address = f"{os.uname().nodename}:20123"
    assert (tmp_path / "command").read_text() == (
        f"-m evals.encode flickr --store a b --cluster {address}\n"
    )
    started = sorted((tmp_path / "started").read_text().splitlines())
    assert [line[0] for line in started] == ["0", "1", "2", "3"]
    assert " --head --port=20123 " in started[0] and "--address" not in started[0]
    assert all(line.endswith(f"--address={address}") for line in started[1:])
    common = "token start --block --disable-usage-stats --object-store-memory=78643200"
    assert all(common in line for line in started)
    assert options_of(SLURM_RAY)["nodes"] == str(len(started))


def test_kubernetes_knows_every_field_of_the_pods_of_the_ray_job():
    import kubernetes_validate

    spec = yaml.safe_load(RAY_JOB.read_text())["spec"]
    cluster = spec["rayClusterSpec"]
    # RayJobSpec and RayClusterSpec of github.com/ray-project/kuberay, ray-operator/apis/ray/v1
    assert set(spec) <= {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "rayClusterSpec"}
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    (workers,) = cluster["workerGroupSpecs"]
    for group in (cluster["headGroupSpec"], workers):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]}
        kubernetes_validate.validate(pod, "1.37.0", strict=True)
        # Ray takes options of its command line here, as texts.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod | {"spec": {"container": []}}, "1.37.0", strict=True)
    program, command, *arguments = spec["entrypoint"].split()
    assert program == "jina-clip-evals" and command in COMMANDS
    assert arguments[-2:] == ["--cluster", "auto"]
    # Where the command runs there is the device that the workers have.
    resources = [
        group["template"]["spec"]["containers"][0]["resources"]["limits"]
        for group in (cluster["headGroupSpec"], workers)
    ]
    assert resources[0] == resources[1]
