"""What a command does to a node through Ray: name it, see whether it reads the store, start a worker there."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.evaluation.nodes import NodeWorker, Seats, reads
from evals.evaluation.ray_session import last_line
from evals.settings import Settings

ANSWER = 60.0  # seconds that a node has to say whether it sees the store


def node_name(node: dict[str, Any]) -> str:
    """What messages call a node: two may have one host name."""
    return f"{node['NodeManagerHostname']} ({node['NodeID'][:6]})"


def blind_nodes(nodes: Sequence[dict[str, Any]], store: object) -> dict[str, str]:
    """Why nodes do not see a store, by their names; a bucket, which is no path, all of them see."""
    import ray

    if not nodes or not isinstance(store, Path):
        return {}
    store.mkdir(parents=True, exist_ok=True)
    text = secrets.token_hex(16)
    probe = store / f".probe-{text[:8]}.part"
    probe.write_text(text)
    try:
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
    finally:
        probe.unlink()


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
