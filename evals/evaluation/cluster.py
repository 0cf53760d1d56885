"""Workers on the nodes of a Ray cluster, `--cluster`: actors that are dealt shards, as local processes are.

    with Cluster("auto", Shares(), settings, reporter) as cluster:
        cluster.encode(item, ref, loaded, encoder, costs)    returns when all is stored

Ray starts workers, tells which died, and carries a few hundred bytes a shard: where data and model
are goes out, what became of shards comes back, rows go to the store by themselves. Not Ray Data: to
go on after a kill it would read all ids into memory and the whole input again, and put rows into
its object store on their way.

A worker or node that is lost costs the shards that it was at. When this process dies Ray ends its
workers, and the same command goes on from what is stored.
"""

import time
from collections import Counter
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from evals.embeddings.failures import HOPELESS, TRIES
from evals.evaluation.dealing import Dealing, Finished, ShardEnded
from evals.evaluation.nodes import Seats, seats_of
from evals.evaluation.pool import BY, Pool
from evals.evaluation.ray_nodes import blind_error, blind_nodes, is_there, node_name, start_worker
from evals.evaluation.ray_session import connect, disconnect, last_line
from evals.evaluation.worker import Job
from evals.progress import Progress, Reporter
from evals.schema import ConfigError, MissingError
from evals.settings import Settings

# Seconds between two looks for nodes that came, between two lines about them, and without any
# worker before the command gives up.
LOOK, LINE, PATIENCE = 2.0, 60.0, 600.0


class Shares(NamedTuple):
    """The most workers there may be, and how much of a GPU each takes: 1 unless given."""

    most: int | None = None
    gpus: float | None = None


@dataclass(eq=False)
class _Actor:
    """A worker of a node: starting, idle, or busy with a lease whose answers `stream` gives."""

    node: str
    handle: Any
    starting: Any
    stream: Any = None


class Cluster(Pool):
    """A connection to Ray, from the first shard that there is to encode to the end of the block."""

    stage, people = f"{BY}cluster", "a cluster"

    def __init__(
        self, address: str, shares: Shares, settings: Settings, reporter: Reporter
    ) -> None:
        super().__init__(settings, reporter)
        self.address, self.shares = address, shares
        self.actors: list[_Actor] = []
        self._connected = False

    def __enter__(self) -> "Cluster":
        if find_spec("ray") is None:
            raise MissingError("--cluster needs ray. Run: pip install 'jina-clip-evals[cluster]'.")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._connected:
            for actor in self.actors:
                self.end(actor)
            disconnect()

    def run(self, job: Job, dealing: Dealing, progress: Progress) -> None:
        """ConfigError when a node does not see the store.

        MissingError when no Ray answers, no node has room for a worker, or no worker can go on.
        """
        if not self._connected:
            connect(self.address)
            self._connected = True
        _Round(self, job, dealing, progress).run()

    def start(self, node: dict[str, Any], seats: Seats, settings: Settings) -> None:
        """Start a worker on a node."""
        handle = start_worker(node, seats, settings)
        self.actors.append(_Actor(node["NodeID"], handle, handle.ready.remote()))

    def end(self, actor: _Actor) -> None:
        """End a worker, at once: what it holds in the store goes with its process."""
        import ray

        ray.kill(actor.handle)


class _Round:
    """One benchmark by one model: leases go out and ends of shards come in, until all have ended."""

    def __init__(self, cluster: Cluster, job: Job, dealing: Dealing, progress: Progress) -> None:
        self.cluster, self.job, self.dealing, self.progress = cluster, job, dealing, progress
        self.reporter = cluster.reporter
        device = job.fingerprint.get("device")
        self._gpus = (cluster.shares.gpus or 1.0) if device == "cuda" else 0.0
        if cluster.shares.gpus and not self._gpus:
            raise ConfigError(
                "--gpus-per-worker: the model runs on no GPU here, and rows are stored by the kind "
                "of their device. Start the command where there is one, or leave the option out."
            )
        self._settings = _for_nodes(cluster.settings, device)
        self._fit: dict[str, dict[str, Any]] = {}  # nodes that see the store, by their ids
        self._unfit: set[str] = set()
        self._unable: list[_Actor] = []
        self._deaths = 0  # since a shard was stored
        self._items: Counter[str] = Counter()
        self._looked = self._told = self._had_worker = float("-inf")

    def run(self) -> None:
        """Return when all shards have ended."""
        import ray

        self._look(first=True)
        self._had_worker = self._told = time.monotonic()
        while not self.dealing.finished:
            self._look()
            self._deal()
            waits = [actor.stream or actor.starting for actor in self._able()]
            waits = [reference for reference in waits if reference is not None]
            if not waits:
                self._check_hope()
                time.sleep(LOOK)
                continue
            ready, _ = ray.wait(waits, num_returns=1, timeout=LOOK)
            if not ready and all(actor.starting is not None for actor in self._able()):
                self._check_patience()  # other jobs may hold what the workers wait for
            for actor in self._able():
                if (actor.stream or actor.starting) in ready:
                    self._hear(actor)
            self._tell()
        self._tell(last=True)

    def _able(self) -> list[_Actor]:
        return [actor for actor in self.cluster.actors if actor not in self._unable]

    def _look(self, *, first: bool = False) -> None:
        """Greet nodes that came, forget those that went, and start the workers that are not there."""
        import ray

        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        self._fit = {name: node for name, node in self._fit.items() if name in alive}
        new = [node for name, node in alive.items() if name not in {*self._fit, *self._unfit}]
        self._greet(new, first=first)
        if self._deaths < HOPELESS * TRIES:
            self._fill()

    def _greet(self, new: list[dict[str, Any]], *, first: bool) -> None:
        """Ask nodes whether they see the store; ConfigError when one of the first does not."""
        reasons = blind_nodes(new, self._settings.store)
        for node in new:
            name = node_name(node)
            if name not in reasons:
                self._fit[node["NodeID"]] = node
                continue
            self._unfit.add(node["NodeID"])
            if not is_there(node):
                del reasons[name]
                self.reporter.info(f"{name} is lost, and is left out")
        if reasons and first:
            raise blind_error(self._settings.store, reasons, len(new))
        for name, reason in reasons.items():
            self.reporter.info(f"{name}: does not see the store ({reason}), and is left out")

    def _fill(self) -> None:
        """Start as many workers as there is room and leave for."""
        most = self.cluster.shares.most
        for node in self._fit.values():
            seats = self._seats(node)
            taken = sum(actor.node == node["NodeID"] for actor in self.cluster.actors)
            for _ in range(taken, seats.workers):
                if most is None or len(self.cluster.actors) < most:
                    self.cluster.start(node, seats, self._settings)

    def _seats(self, node: dict[str, Any]) -> Seats:
        import torch

        return seats_of(node["Resources"], gpus=self._gpus, threads=torch.get_num_threads())

    def _deal(self) -> None:
        able = self._able()
        among = {id(actor) for actor in able if actor.starting is None}
        for actor in able:
            if actor.starting is None and actor.stream is None:
                shards = self.dealing.lease(id(actor), among)
                if shards:
                    encode = actor.handle.encode.options(num_returns="streaming")
                    actor.stream = encode.remote(self.job, shards)

    def _hear(self, actor: _Actor) -> None:
        import ray

        try:
            if actor.starting is not None:
                ray.get(actor.starting)
                actor.starting = None
                self._had_worker = time.monotonic()
                return
            message: ShardEnded | Finished = ray.get(next(actor.stream))
        except ray.exceptions.RayError as error:
            self._bury(actor, error)
            return
        if isinstance(message, ShardEnded):
            self.dealing.end(id(actor), message)
            if message.error is None and message.items:
                self._deaths = 0
                self._items[self._named(actor)] += message.items
            self.progress(self.dealing.done, self.dealing.total)
            return
        actor.stream = None
        self._had_worker = time.monotonic()
        if message.error is None:
            self.dealing.finish(id(actor))
            return
        self._unable.append(actor)
        self.dealing.take_back(id(actor))
        self.reporter.info(f"{self._named(actor)}: {message.error}")
        if not self._able():
            raise MissingError(f"--cluster: no worker can go on. {message.error}")

    def _bury(self, actor: _Actor, error: Exception) -> None:
        """A worker is dead, or its node, which is no fault of a shard."""
        name = self._named(actor)
        self.cluster.actors.remove(actor)
        self.cluster.end(actor)
        self._looked = float("-inf")
        node = self._fit.get(actor.node)
        if node is None or not is_there(node):
            self._fit.pop(actor.node, None)
            self._unfit.add(actor.node)
            self.dealing.take_back(id(actor))
            self.reporter.info(f"{name} is lost; what it was at is encoded again")
            return
        self._deaths += 1
        reason = last_line(error)
        self.dealing.take_back(id(actor), f"its worker ended by itself ({reason})")
        self.reporter.info(f"{name}: a worker ended by itself; what it was at is encoded again")

    def _check_hope(self) -> None:
        if self._deaths >= HOPELESS * TRIES:
            raise MissingError(
                "--cluster: workers end by themselves before they have stored anything. Look into "
                "Ray's logs, or encode without --cluster, which shows the error."
            )
        if not self._could_have_room():
            raise self._no_room()
        self._check_patience()

    def _check_patience(self) -> None:
        if time.monotonic() - self._had_worker > PATIENCE:
            raise self._no_room()

    def _no_room(self) -> MissingError:
        kind = "GPU" if self._gpus else "CPU"
        return MissingError(
            f"--cluster: no node has a free {kind} for a worker. Add one, and run the same "
            "command again."
        )

    def _could_have_room(self) -> bool:
        """Whether a node is large enough, or was there before and may come back."""
        return bool(self._items) or any(self._seats(node).workers for node in self._fit.values())

    def _named(self, actor: _Actor) -> str:
        node = self._fit.get(actor.node)
        return f"node {actor.node[:6]}" if node is None else node_name(node)

    def _tell(self, *, last: bool = False) -> None:
        """A line about what each node has encoded: now and then, and in the end."""
        if not last and time.monotonic() - self._told < LINE:
            return
        self._told = time.monotonic()
        nodes = ", ".join(f"{name} {items:,}" for name, items in sorted(self._items.items()))
        done = f"{self.dealing.done:,} of {self.dealing.total:,} items"
        self.reporter.info(f"{done} stored; {nodes or 'none by a node'}")


def _for_nodes(settings: Settings, device: str | None) -> Settings:
    """The same for a node: the store by its whole path, and the kind of device that this machine has."""
    store = settings.store.absolute() if isinstance(settings.store, Path) else settings.store
    # Which GPU a worker has Ray says, by CUDA_VISIBLE_DEVICES.
    return replace(settings, store=store, device=device or settings.device)
