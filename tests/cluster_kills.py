"""Kills workers, nodes and the command itself while a Ray cluster encodes, at moments drawn from a seed."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# Of ten kills: a node takes seconds to come, and the command ten to start again.
KINDS = {"worker": 8, "node": 1, "command": 1}
FAILED = 3  # exit code of a command that names shards which failed three times
PATIENCE = 180.0


class Killer:
    """One command of a cluster, from its start until all is stored, whatever is killed meanwhile.

    `kills` counts by kind; `starts` how often the command was started.
    """

    def __init__(
        self,
        cluster: Any,
        start: Callable[[], "subprocess.Popen[str]"],
        stored: Callable[[], int],
        node: dict[str, Any],
    ) -> None:
        self.cluster, self.start, self.stored, self.node = cluster, start, stored, node
        self.kills: Counter[str] = Counter()
        self.starts = 0

    def run(self, rng: random.Random, most: int) -> None:
        """Kill up to `most` times, each time after another shard was stored."""
        running = self._started()
        while self.kills.total() < most:
            before = self.stored()
            deadline = time.monotonic() + PATIENCE
            while self.stored() == before and running.poll() is None:
                assert time.monotonic() < deadline, "nothing is stored any more"
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 1))
            if running.poll() == FAILED:
                # The third worker of one shard was killed: the command says so, and is started again.
                running.communicate()
                running = self._started()
            elif running.poll() is not None:
                break
            else:
                running = self._kill(rng, running)
        while True:
            _, err = running.communicate(timeout=2 * PATIENCE)
            if running.returncode == 0:
                return
            assert running.returncode == FAILED, err
            running = self._started()

    def _kill(
        self, rng: random.Random, running: "subprocess.Popen[str]"
    ) -> "subprocess.Popen[str]":
        """Kill something, and return the command that runs now."""
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "worker":
            workers = workers_below(os.getpid())
            if not workers:  # they are starting
                return running
            os.kill(rng.choice(workers), signal.SIGKILL)
        elif kind == "node":
            victim = rng.choice(sorted(self.cluster.worker_nodes, key=lambda node: node.node_id))
            self.cluster.remove_node(victim, allow_graceful=False)
            # Where the machine is busy Ray gives a node up that took longer than it waits. It comes then.
            with suppress(Exception):
                self.cluster.add_node(wait=False, **self.node)
        else:
            running.send_signal(signal.SIGKILL)
            running.communicate()
            running = self._started()
        self.kills[kind] += 1
        return running

    def _started(self) -> "subprocess.Popen[str]":
        self.starts += 1
        return self.start()


def workers_below(ancestor: int) -> list[int]:
    """The actors that encode, of nodes that a process has started: others may have a cluster, too."""
    parents: dict[int, int] = {}
    workers = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # Behind the name, which may hold anything, in brackets.
            parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            title = folder.joinpath("cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        parents[int(folder.name)] = int(parent)
        if title.startswith(b"ray::NodeWorker"):
            workers.append(int(folder.name))
    return sorted(pid for pid in workers if ancestor in _ancestors(pid, parents))


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    ancestors = set()
    while pid in parents:
        pid = parents[pid]
        ancestors.add(pid)
    return ancestors
