"""An encoder of ours in the shape that mteb's tasks call: it encodes through the store and searches in blocks.

mteb itself is not imported here; what is needed of it comes in as `Tools`, from `evals.mteb_bridge.bridge`.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from evals.embeddings.store import Store
from evals.embeddings.truncation import truncate
from evals.evaluation.recording import Costs
from evals.mteb_bridge.scoring import heap_order
from evals.mteb_bridge.sides import language_of, sides_of
from evals.progress import Reporter
from evals.schema import Encoder, EncoderInfo, InvalidError, Side, TruncatingEncoder

# Up to so many scores are computed at once by mteb's own function, so that even their last bits, and with them near ties, are
# mteb's. Larger searches go block by block: other kernels, whose scores may differ in the last bit.
AT_ONCE = 2**24
BLOCK = 512  # queries scored at a time


class Tools(NamedTuple):
    """What the adapter needs of mteb: its cosines, and `loader(dataset, metadata, prompt_type)`, which joins titles and texts."""

    meta: Any
    cos_sim: Callable[[Any, Any], Any]
    pairwise_cos_sim: Callable[[Any, Any], Any]
    loader: Callable[[Any, Any, Any], Any]
    query: Any
    document: Any


class Hits(NamedTuple):
    """The hits of some queries from `first` on; -1 where a query has no more."""

    first: int
    docs: np.ndarray
    scores: np.ndarray


class Adapter:
    """An encoder as mteb's EncoderProtocol and SearchProtocol, at one dimension at a time.

    At full width rows are what the encoder gave; fewer dimensions are truncated and normalised. `instruction` gives queries
    and documents their roles. `content` collects a hash of everything that was embedded, for each subset.
    """

    def __init__(
        self,
        encoder: Encoder,
        store: Store,
        reporter: Reporter,
        costs: Costs,
        *,
        instruction: bool,
        tools: Tools,
    ) -> None:
        self.mteb_model_meta, self.tools = tools.meta, tools
        self.encoder, self.store, self.reporter, self.costs, self.instruction = (
            encoder,
            store,
            reporter,
            costs,
            instruction,
        )
        self.dim = encoder.dim
        self.content: dict[str, Any] | None = {}
        self.corpus: Any = None
        self.lengths = {
            "texts": 0,
            "truncated": 0,
        }  # of what was embedded, while the content is collected
        self.where = ("", "")  # the subset and split that was encoded last

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **ignored: Any,
    ) -> Float32[np.ndarray, "n d"]:
        """The rows of a data loader; of items with a text and an image the sum of both normalised rows, as in mteb's wrappers."""
        self.where = (hf_subset, hf_split)
        role = prompt_type.value if self.instruction and prompt_type is not None else None
        language = (
            language_of(task_metadata, hf_subset)
            if EncoderInfo.read(self.encoder).by_language
            else None
        )
        parts = [
            self._rows(side, hf_subset) for side in sides_of(inputs, role=role, language=language)
        ]
        if len(parts) == 1 and self.dim == self.encoder.dim:
            return parts[0]
        total = truncate(parts[0], self.dim)
        for rows in parts[1:]:
            total += truncate(rows, self.dim)
        return total

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, by mteb's own function."""
        return self.tools.cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding rows, by mteb's own function."""
        return self.tools.pairwise_cos_sim(embeddings1, embeddings2)

    def index(self, corpus: Any, **ignored: Any) -> None:
        """Remember the documents; they are embedded by `search`, which knows whether all are needed."""
        self.corpus = corpus

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Any = None, **task: Any
    ) -> dict[str, dict[str, float]]:
        """The best documents of every query in mteb's form, for tasks that need all of them at once."""
        ids, names = list(queries["id"]), list(self.corpus["id"])
        found: dict[str, dict[str, float]] = {query: {} for query in ids}
        for block in self.blocks(queries, top_k=top_k, top_ranked=top_ranked, **task):
            for row, (docs, scores) in enumerate(
                zip(block.docs.tolist(), block.scores.tolist(), strict=True)
            ):
                hits = [
                    (score, names[doc]) for doc, score in zip(docs, scores, strict=True) if doc >= 0
                ]
                found[ids[block.first + row]] = {
                    hits[i][1]: hits[i][0] for i in heap_order(hits, top_k)
                }
        return found

    def blocks(
        self,
        queries: Any,
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None,
        **task: Any,
    ) -> Iterator[Hits]:
        """Hits block by block: `top_k` and one more, for ties at the last place are broken by id; or all candidates."""
        if top_ranked is None:
            rows, docs = (
                self._embed(queries, self.tools.query, **task),
                self._embed(self.corpus, self.tools.document, **task),
            )
            device = "cuda" if self.encoder.fingerprint.get("device") == "cuda" else "cpu"
            return search_blocks(rows, docs, top_k + 1, cos_sim=self.tools.cos_sim, device=device)
        wanted = {doc for query in queries["id"] for doc in top_ranked.get(query, ())}
        places = {doc: index for index, doc in enumerate(self.corpus["id"]) if doc in wanted}
        if missing := wanted - places.keys():
            raise InvalidError(
                f"candidate {min(missing)} is not in the corpus ({len(missing):,} are missing)."
            )
        chosen = sorted(places.values())
        row_of = {index: row for row, index in enumerate(chosen)}
        rows = self._embed(queries, self.tools.query, **task)
        docs = self._embed(self.corpus.select(chosen), self.tools.document, **task)
        candidates = [
            np.array([places[doc] for doc in top_ranked.get(q, ())], dtype=np.int64)
            for q in queries["id"]
        ]
        return self._reranked(rows, docs, candidates, row_of)

    def _reranked(
        self, rows: Any, docs: Any, candidates: Sequence[np.ndarray], row_of: Mapping[int, int]
    ) -> Iterator[Hits]:
        import torch

        for first, own in enumerate(candidates):
            if not len(own):
                yield Hits(first, np.zeros((1, 0), np.int64), np.zeros((1, 0), np.float32))
                continue
            scores = torch.as_tensor(
                self.similarity(rows[first : first + 1], docs[[row_of[i] for i in own.tolist()]])
            )
            best = scores.topk(len(own), dim=1)
            yield Hits(first, own[best.indices.cpu().numpy()], best.values.cpu().numpy())

    def _embed(
        self,
        dataset: Any,
        prompt_type: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        **ignored: Any,
    ) -> Any:
        loader = self.tools.loader(dataset, task_metadata, prompt_type)
        return self.encode(
            loader,
            task_metadata=task_metadata,
            hf_split=hf_split,
            hf_subset=hf_subset,
            prompt_type=prompt_type,
        )

    def _rows(self, side: Side, hf_subset: str) -> Float32[np.ndarray, "n d"]:
        since = time.monotonic()
        with self.reporter.progress(f"{self.encoder.name}: encoding {side.kind}s") as progress:
            rows, encoded = self.store.embed(self.encoder, side, progress=progress)
        self.costs.encoded[side.kind] += encoded
        self.costs.add(f"encode_{side.kind}", since)
        self.note(hf_subset, side.kind, *side.hashes)
        if (
            self.content is not None
            and side.kind == "text"
            and isinstance(self.encoder, TruncatingEncoder)
        ):
            self.lengths["texts"] += len(side)
            self.lengths["truncated"] += self.encoder.truncated(side)
        return rows

    def note(self, hf_subset: str, *parts: str) -> None:
        """Add to the subset's content hash, while it is collected: at the first dimension."""
        if self.content is not None:
            digest = self.content.setdefault(hf_subset, hashlib.sha256())
            for part in parts:
                digest.update(part.encode() + b"\n")


def search_blocks(
    queries: Any, docs: Any, k: int, *, cos_sim: Callable[[Any, Any], Any], device: str = "cpu"
) -> Iterator[Any]:
    """The `k` best documents of each query by cosine, in blocks with `first`, `docs` and `scores`."""
    if len(queries) * len(docs) > AT_ONCE:
        from evals.ranking.search import top_k

        yield from top_k(
            truncate(queries, queries.shape[1]),
            truncate(docs, docs.shape[1]),
            min(k, len(docs)),
            device=device,
        )
        return
    scores = cos_sim(queries, docs)
    for first in range(0, len(queries), BLOCK):
        best = scores[first : first + BLOCK].topk(min(k, len(docs)), dim=1)
        yield Hits(first, best.indices.cpu().numpy(), best.values.cpu().numpy())
