"""An encoder of ours in the shape that mteb's tasks call.

It encodes through the store, so that tasks and dimensions share embeddings, and it searches in
blocks, so that memory does not grow with the queries. mteb itself is not imported here: what is
needed of it comes in as `Tools`, made in `evals.mteb_bridge.bridge`.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from jaxtyping import Float32

from evals.data.checks import is_blank
from evals.embeddings.store import Store
from evals.embeddings.truncation import truncate
from evals.evaluation.lengths import Counts, add_side, cut_of, unknown_words
from evals.evaluation.recording import Costs
from evals.mteb_bridge.late import candidate_scores, only_side, search_vectors
from evals.mteb_bridge.scoring import best_candidates, heap_order
from evals.mteb_bridge.sides import language_of, sides_of
from evals.mteb_bridge.tools import Tools
from evals.progress import Progress, Reporter, encoding_progress
from evals.ranking.best_docs import Hits
from evals.ranking.search import top_k
from evals.schema import (
    Encoder,
    EncoderInfo,
    InvalidError,
    MultiVectorEncoder,
    Side,
    TruncatingEncoder,
    VectorSource,
    check_one_row,
    is_multi_vector,
)

# Up to so many scores are computed at once by mteb's own function, so that even their last bits,
# and with them near ties, are mteb's. Larger searches go block by block: other kernels, whose
# scores may differ in the last bit.
AT_ONCE = 2**24
BLOCK = 512  # queries scored at a time


class Adapter:
    """An encoder as mteb's EncoderProtocol and SearchProtocol, at one dimension at a time.

    At full width rows are what the encoder gave; fewer dimensions are truncated and normalised.
    `instruction` gives queries and documents their roles. While `collecting`, `content` gets a hash
    of everything that is embedded, per subset; `lengths` says how many texts there were, and how
    many of them the encoder cut; and `blank_texts` how many had nothing to be seen.
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
        self.mteb_model_meta = tools.meta  # a name that mteb reads
        self.tools = tools
        self.encoder = encoder
        self.store = store
        self.reporter = reporter
        self.costs = costs
        self.instruction = instruction
        self.dim = encoder.dim
        self.corpus: Any = None
        self.where = ("", "")  # the subset and split that was encoded last
        self.lengths: Counts | None = None
        if isinstance(encoder, TruncatingEncoder):
            self.lengths = {"texts": 0, "truncated": 0}
        self.blank_texts = 0
        self.start_collecting()

    def start_collecting(self) -> None:
        """Begin the content of a new task."""
        self.content: dict[str, Any] = {}
        self.collecting = True

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
        """The rows of a data loader of mteb.

        For items with a text and an image they are the sum of both normalised rows, as in mteb's
        wrappers.
        """
        check_one_row(self.encoder)
        # Methods of a semantic similarity task are not told their subset, and read it here.
        self.where = (hf_subset, hf_split)
        role = prompt_type.value if self.instruction and prompt_type is not None else None
        language = None
        if EncoderInfo.read(self.encoder).by_language:
            language = language_of(task_metadata, hf_subset)
        sides = sides_of(inputs, role=role, language=language)
        rows_of_sides = [self._rows(side, hf_subset) for side in sides]
        # As the encoder gave them: dividing by a norm of 1 again would change last bits.
        if len(rows_of_sides) == 1 and self.dim == self.encoder.dim:
            return rows_of_sides[0]
        # A text and an image of one item: mteb's CLIP wrappers add their normalised rows.
        total = truncate(rows_of_sides[0], self.dim)
        for rows in rows_of_sides[1:]:
            total += truncate(rows, self.dim)
        return total

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, by mteb's own function."""
        return self.tools.cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding rows, by mteb's own function."""
        return self.tools.pairwise_cos_sim(embeddings1, embeddings2)

    def index(self, corpus: Any, **ignored: Any) -> None:
        """Remember the documents; `search` embeds them, since it knows whether all are needed."""
        self.corpus = corpus

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Any = None, **task: Any
    ) -> dict[str, dict[str, float]]:
        """The best documents of every query in mteb's form, for tasks that need all at once."""
        query_ids = list(queries["id"])
        doc_ids = list(self.corpus["id"])
        results: dict[str, dict[str, float]] = {query: {} for query in query_ids}
        for block in self.blocks(queries, top_k=top_k, top_ranked=top_ranked, **task):
            for row, query in enumerate(query_ids[block.first : block.first + len(block.docs)]):
                pairs = zip(block.scores[row].tolist(), block.docs[row].tolist(), strict=True)
                hits = [(score, doc_ids[doc]) for score, doc in pairs if doc >= 0]
                in_heap = [hits[place] for place in heap_order(hits, top_k)]
                results[query] = {doc: score for score, doc in in_heap}
        return results

    def blocks(
        self,
        queries: Any,
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None,
        **task: Any,
    ) -> Iterator[Hits]:
        """The hits of the queries, block by block.

        Without candidates (`top_ranked`) each query has `top_k` hits and one more: ties at the last
        place are broken by id. With them it has `top_k` at most, and a candidate that is listed
        twice comes twice. Raises InvalidError for a candidate that is no document.
        """
        if top_ranked is not None:
            return self._reranked(queries, top_ranked, top_k, **task)
        device = "cuda" if self.encoder.fingerprint.get("device") == "cuda" else "cpu"
        # As many hits as mteb asks `topk` for: the last place may be shared by equal scores.
        if is_multi_vector(self.encoder):
            vectors = self._vectors(queries, self.tools.query, **task)
            doc_vectors = self._vectors(self.corpus, self.tools.document, **task)
            return search_vectors(vectors, doc_vectors, top_k + 1, device=device)
        rows = self._embed(queries, self.tools.query, **task)
        docs = self._embed(self.corpus, self.tools.document, **task)
        return search_blocks(rows, docs, top_k + 1, cos_sim=self.tools.cos_sim, device=device)

    def note(self, hf_subset: str, *parts: str) -> None:
        """Add to the subset's content hash, while it is collected: at the first dimension."""
        if self.collecting:
            digest = self.content.setdefault(hf_subset, hashlib.sha256())
            for part in parts:
                digest.update(part.encode() + b"\n")

    def _reranked(
        self, queries: Any, top_ranked: Mapping[str, Sequence[str]], top_k: int, **task: Any
    ) -> Iterator[Hits]:
        """The best candidates of each query; only documents that are candidates are embedded."""
        # A query without candidates has no hits, and scores 0: it counts as a query all the same.
        candidates = [top_ranked.get(query, ()) for query in queries["id"]]
        listed = {doc for docs in candidates for doc in docs}
        place_of = {doc: place for place, doc in enumerate(self.corpus["id"]) if doc in listed}
        missing = listed - place_of.keys()
        if missing:
            raise InvalidError(
                f"candidate {min(missing)} is not in the corpus ({len(missing):,} are missing)."
            )
        places = sorted(place_of.values())
        row_of = {place: row for row, place in enumerate(places)}
        # mteb embeds the whole corpus of a reranking task; most of it is no candidate of any query.
        chosen = self.corpus.select(places)
        scores_of: Callable[[int, list[int]], Any]
        if is_multi_vector(self.encoder):
            query_vectors = self._vectors(queries, self.tools.query, **task)
            doc_vectors = self._vectors(chosen, self.tools.document, **task)

            def scores_of(query: int, rows: list[int]) -> Any:
                return candidate_scores(query_vectors, query, doc_vectors, rows)
        else:
            query_rows = self._embed(queries, self.tools.query, **task)
            doc_rows = self._embed(chosen, self.tools.document, **task)

            def scores_of(query: int, rows: list[int]) -> Any:
                # Query by query and by mteb's function: a matrix of another shape may give other
                # last bits.
                return self.similarity(query_rows[query : query + 1], doc_rows[rows])

        def hits() -> Iterator[Hits]:
            for first, docs in enumerate(candidates):
                listed_places = np.array([place_of[doc] for doc in docs], dtype=np.int64)
                if not len(docs):
                    yield Hits(first, np.zeros((1, 0), np.int64), np.zeros((1, 0), np.float32))
                    continue
                scores = scores_of(first, [row_of[place] for place in listed_places.tolist()])
                yield best_candidates(first, scores, listed_places, top_k)

        return hits()

    def _embed(
        self,
        dataset: Any,
        prompt_type: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        **ignored: Any,
    ) -> Float32[np.ndarray, "n d"]:
        return self.encode(
            self.tools.loader(dataset, task_metadata, prompt_type),
            task_metadata=task_metadata,
            hf_split=hf_split,
            hf_subset=hf_subset,
            prompt_type=prompt_type,
        )

    def _vectors(
        self,
        dataset: Any,
        prompt_type: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        **ignored: Any,
    ) -> VectorSource:
        """Where the vectors of queries or documents lie, encoded where the store lacks them.

        Roles are always set: such models encode a query otherwise than a document.
        """
        self.where = (hf_subset, hf_split)
        inputs = self.tools.loader(dataset, task_metadata, prompt_type)
        side = only_side(inputs, prompt_type.value)
        with self._encoding(side, hf_subset) as progress:
            encoded = self.store.encode(self.encoder, side, progress=progress)
        self.costs.encoded[side.kind] += encoded
        return self.store.vectors(cast(MultiVectorEncoder, self.encoder), side)

    def _rows(self, side: Side, hf_subset: str) -> Float32[np.ndarray, "n d"]:
        """The full-width rows of a side, encoded where the store lacks them."""
        with self._encoding(side, hf_subset) as progress:
            rows, encoded = self.store.embed(self.encoder, side, progress=progress)
        self.costs.encoded[side.kind] += encoded
        return rows

    @contextmanager
    def _encoding(self, side: Side, hf_subset: str) -> Iterator[Progress]:
        """The progress and the time of encoding, and what is noted of the side."""
        since = time.monotonic()
        title = f"{self.encoder.name}: encoding {side.kind}s"
        with encoding_progress(self.reporter, title, side.kind) as progress:
            yield progress
        self.costs.add(f"encode_{side.kind}", since)
        self.note(hf_subset, side.kind, *side.hashes)
        if self.collecting and side.kind == "text":
            self._count(side)

    def _count(self, texts: Side) -> None:
        # Once per text and task: at the first dimension, while the content is collected.
        self.blank_texts += sum(map(is_blank, texts.items))
        if self.lengths is None or not isinstance(self.encoder, TruncatingEncoder):
            return
        cut = cut_of(self.encoder, texts)
        # Once per task, whatever number of sides it has.
        if cut.reason is not None and self.lengths["truncated"] is not None:
            self.reporter.info(unknown_words(self.encoder, cut.reason))
        add_side(self.lengths, texts, cut)


def search_blocks(
    queries: Any, docs: Any, k: int, *, cos_sim: Callable[[Any, Any], Any], device: str = "cpu"
) -> Iterator[Hits]:
    """The `k` best documents of each query by cosine, block by block."""
    if len(queries) * len(docs) > AT_ONCE:
        query_rows = truncate(queries, queries.shape[1])  # normalised
        doc_rows = truncate(docs, docs.shape[1])
        yield from top_k(query_rows, doc_rows, min(k, len(docs)), device=device)
        return
    scores = cos_sim(queries, docs)
    for first in range(0, len(queries), BLOCK):
        best = scores[first : first + BLOCK].topk(min(k, len(docs)), dim=1)
        yield Hits(first, best.indices.cpu().numpy(), best.values.cpu().numpy())
