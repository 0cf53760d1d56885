"""The recall stage beside a bare matmul, CLIP_benchmark's function and mteb's search plus scoring: python -m benchmarks.recall.

From stored embeddings to the metrics of both directions. Ours gives R@1, R@5, R@10, MRR, nDCG@10, ranks and bootstrap
intervals; CLIP_benchmark gives R@1, R@5 and R@10; mteb gives its whole table at its own cut-offs (1 to 1,000). The bare matmul
is one float32 product of all texts and images: what no exact method can do without.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import finish, largest_difference, parse, race

KS = (1, 5, 10)
NAMES = [f"{direction}/R@{k}" for direction in ("t2i", "i2t") for k in KS]
K_VALUES = (1, 3, 5, 10, 20, 100, 1000)  # mteb's
CLIP_BATCH = 64  # images of CLIP_benchmark's default batch, by which it also cuts the scores


def main() -> None:
    """Two sizes with all contenders; --small: all at 1,000 x 5,000, ours and the matmul also at 5,000 x 25,000."""
    args = parse(__doc__ or "")
    sizes = [(1000, 5000)] if args.small else [(3600, 7200), (5000, 25_000)]
    peers = {"CLIP_benchmark": ("clip_benchmark", _clip_benchmark), "mteb": ("mteb", _mteb)}
    laps, ratios, differences, figures = {}, {}, {}, {}
    absent = [
        name for name, (module, _) in peers.items() if importlib.util.find_spec(module) is None
    ]
    for n_images, n_texts in [*sizes, (5000, 25_000)] if args.small else sizes:
        case = f"{n_images:,} images x {n_texts:,} texts x 1,024"
        images, texts, data = _rows(n_images, n_texts)
        contenders: dict[str, Callable[[], Any]] = {
            "bare matmul": _matmul(images, texts, args.device),
            "ours": lambda images=images, texts=texts, data=data: _ours(
                images, texts, data, args.device
            ),
        }
        if (n_images, n_texts) in sizes:
            for name, (_, run) in peers.items():
                if name not in absent:
                    given = images, texts, data.image_of_text, args.device
                    contenders[name] = lambda run=run, given=given: run(*given)
        laps[case], found = race(contenders, rounds=args.rounds, device=args.device)
        figures[f"{case}: ours / bare matmul"] = (
            laps[case]["ours"].best / laps[case]["bare matmul"].best
        )
        figures[f"{case}: recall"] = dict(
            zip(NAMES, (round(value, 4) for value in found["ours"]), strict=True)
        )
        for name in set(contenders) & set(peers):
            ratios[f"{case}: {name} / ours"] = laps[case][name].best / laps[case]["ours"].best
            allowed = 5.1e-6 if name == "mteb" else 1e-12  # mteb rounds to five decimals
            differences[f"{case}: {name}, recall"] = (
                largest_difference(found["ours"], found[name]),
                allowed,
            )
    conditions = {
        "rows": "random, a text is its image and noise; float32, seed 0; on the host, where the store leaves them",
        "bare matmul": "rows and memory for the scores are on the device before; page faults and transfers are not in it",
        "ours": "everything: both directions, all metrics, and 2,000 resamples, drawn anew in every round",
        "mteb's cut-offs": list(K_VALUES),
        "CLIP_benchmark's batch": CLIP_BATCH,
        "not installed": absent,
        "equal": "R@1, R@5, R@10 of both directions; CLIP_benchmark's hits are averaged in float64, mteb's rounded to 5 decimals",
    }
    finish(
        "recall",
        args,
        conditions=conditions,
        laps=laps,
        ratios=ratios,
        differences=differences,
        figures=figures,
    )


def _rows(n_images: int, n_texts: int) -> tuple[np.ndarray, np.ndarray, Any]:
    from evals.schema import ImageText, Side

    rng = np.random.default_rng(0)
    images = rng.standard_normal((n_images, 1024), dtype=np.float32)
    image_of_text = np.arange(n_texts) % n_images
    texts = images[image_of_text] + 8 * rng.standard_normal((n_texts, 1024), dtype=np.float32)
    for rows in (images, texts):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    def side(kind: Any, n: int) -> Side:
        ids = [f"{kind}{i}" for i in range(n)]
        return Side(kind, ids, ids, ids)

    return (
        images,
        texts,
        ImageText(side("image", n_images), side("text", n_texts), image_of_text, {}),
    )


def _matmul(images: np.ndarray, texts: np.ndarray, device: str) -> Callable[[], None]:
    """Into memory that is there already, so that this is the product and no page faults."""
    import torch

    a, b = torch.from_numpy(texts).to(device), torch.from_numpy(images).to(device)
    out = torch.empty(len(texts), len(images), device=device)

    def run() -> None:
        torch.mm(a, b.T, out=out)

    return run


def _ours(images: np.ndarray, texts: np.ndarray, data: Any, device: str) -> list[float]:
    from evals.stats import bootstrap as stats
    from evals.tasks.image_text import score

    stats._kept.cache_clear()  # a run of one benchmark draws its resamples once; so does every round
    t2i, i2t = score([images, texts], data, dims=[images.shape[1]], device=device)
    return [direction.values[f"R@{k}"].value for direction in (t2i, i2t) for k in KS]


def _clip_benchmark(
    images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray, device: str
) -> list[float]:
    """The second half of its `evaluate`: everything after the last embedding."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = torch.from_numpy(texts) @ torch.from_numpy(images).t()
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(scores)), torch.from_numpy(image_of_text)] = True
    return [
        float((batchify(recall_at_k, of, pairs, CLIP_BATCH, device, k=k) > 0).double().mean())
        for of, pairs in ((scores, positive), (scores.T, positive.T))
        for k in KS
    ]


def _mteb(
    images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray, device: str
) -> list[float]:
    """Its full-corpus search over given embeddings and its scoring, once a direction."""
    import mteb
    import torch
    from datasets import Dataset
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores
    from mteb.models.search_wrappers import chunked_full_corpus_search

    metadata = mteb.get_task("SciFact").metadata  # any text task: it only says how a corpus is read
    x, y = torch.from_numpy(images).to(device), torch.from_numpy(texts).to(device)
    found = []
    for queries, docs, pairs in (
        (y, x, enumerate(image_of_text)),
        (x, y, ((i, j) for j, i in enumerate(image_of_text))),
    ):
        ids = [f"d{i}" for i in range(len(docs))]
        qrels: dict[str, dict[str, int]] = {f"q{i}": {} for i in range(len(queries))}
        for query, doc in pairs:
            qrels[f"q{query}"][f"d{doc}"] = 1
        heaps = chunked_full_corpus_search(
            task_corpus=Dataset.from_dict({"id": ids, "text": ids, "title": [""] * len(ids)}),
            corpus_chunk_size=50_000,
            query_idx_to_id={i: f"q{i}" for i in range(len(queries))},
            query_embeddings=queries,
            task_metadata=metadata,
            hf_subset="default",
            hf_split="test",
            top_k=max(K_VALUES),
            encode_kwargs={"show_progress_bar": False},
            encode_fn=lambda *_, docs=docs, **__: docs,
            similarity_fn=mteb.similarity_functions.cos_sim,
            search_k_offset=1,
        )
        results = {query: {doc: score for score, doc in heap} for query, heap in heaps.items()}
        hits = calculate_retrieval_scores(results, qrels, list(K_VALUES)).hit_rate
        found += [hits[f"HitRate@{k}"] for k in KS]
    return found


if __name__ == "__main__":
    main()
