"""What a command does to a node through Ray: name it, see whether it reads the store, start a worker there."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.evaluation.nodes import NodeWorker, Seats, reads
from evals.evaluation.ray_session import answers, last_line
from evals.files import PART, held, sweep_parts
from evals.schema import ConfigError
from evals.settings import Settings

ANSWER = 60.0  # seconds that a node has to say whether it sees the store


def node_name(node: dict[str, Any]) -> str:
    """What messages call a node: two may have one host name."""
    return f"{node['NodeManagerHostname']} ({node['NodeID'][:6]})"


def blind_nodes(nodes: Sequence[dict[str, Any]], store: object) -> dict[str, str]:
    """Why nodes do not see a store, by their names; a bucket, which is no path, all of them see."""
    if not nodes or not isinstance(store, Path):
        return {}
    store.mkdir(parents=True, exist_ok=True)
    sweep_parts(store)  # a command may have been killed while it waited for the answers
    text = secrets.token_hex(16)
    probe = store / f".probe-{text[:8]}{PART}"
    with held(probe) as file:
        file.write(text.encode())
        file.flush()
        reasons = _reasons(nodes, probe, text)
        probe.unlink()
    return reasons


def _reasons(nodes: Sequence[dict[str, Any]], probe: Path, text: str) -> dict[str, str]:
    """Why nodes do not read a file, by their names."""
    import ray

    answers = {}
    for node in nodes:
        task = ray.remote(reads).options(
            num_cpus=0, max_retries=0, scheduling_strategy=_only_on(node)
        )
        answers[node_name(node)] = task.remote(str(probe), text)
    reasons = {}
    for name, answer in answers.items():
        try:
            reason = ray.get(answer, timeout=ANSWER)
        except ray.exceptions.RayError as error:
            reason = last_line(error)
        if reason is not None:
            reasons[name] = reason
    return reasons


def blind_error(store: object, reasons: Mapping[str, str], n_nodes: int) -> ConfigError:
    """What a command ends with that finds blind nodes among those that it begins with."""
    name, reason = min(reasons.items())
    return ConfigError(
        f"--store {store}: {len(reasons)} of {n_nodes} nodes do not see what is written there, "
        f"{name} the first ({reason}). Name a folder that all nodes share, or a bucket."
    )


def is_there(node: Mapping[str, Any]) -> bool:
    """Whether a node is not lost: Ray takes up to half a minute to say so, its door is closed at once."""
    return answers(node["NodeManagerAddress"], node["NodeManagerPort"])


def start_worker(node: dict[str, Any], seats: Seats, settings: Settings) -> Any:
    """The handle of a worker that starts on a node."""
    import ray
    import torch

    environment = {"OMP_WAIT_POLICY": "PASSIVE"}
    if not seats.gpus:
        # Ray would set it to the CPUs of the actor, and fewer threads sum in another order.
        environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    worker = ray.remote(NodeWorker).options(
        num_cpus=seats.cpus,
        num_gpus=seats.gpus,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy=_only_on(node),
    )
    return worker.remote(settings, environment, str(Path.cwd()))


def _only_on(node: dict[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
