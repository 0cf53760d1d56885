"""Retrieval over given embeddings beside mteb's, search plus scoring: python -m benchmarks.search [--queries N --docs N].

Both give mteb's whole table at its cut-offs (1 to 1,000): nDCG, MAP, recall, precision, hit rate, MRR and the nAUCs of all.
Ours searches and scores some queries at a time; mteb's keeps the scores of all queries against 50,000 documents, and then all
hits of all queries.
"""

import importlib.util
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import finish, largest_difference, parse, race

K_VALUES = [1, 3, 5, 10, 20, 100, 1000]  # mteb's
DIM = 1024
POSITIVES = 20  # documents relevant to a query, with grades from 1 to 3


class Case(NamedTuple):
    """Embeddings of queries q0, q1 … and documents d0, d1 …, and the grades of the documents relevant to each query."""

    queries: np.ndarray
    docs: np.ndarray
    qrels: dict[str, dict[str, int]]


def main() -> None:
    """1,000 and 10,000 queries of 100,000 documents; --small: 1,000 of 20,000; --queries and --docs: just that."""
    args = parse(__doc__ or "", _sizes)
    sizes = [(1000, 20_000)] if args.small else [(1000, 100_000), (10_000, 100_000)]
    if args.queries or args.docs:
        sizes = [(args.queries or sizes[-1][0], args.docs or sizes[-1][1])]
    laps, ratios, differences, figures = {}, {}, {}, {}
    if present := importlib.util.find_spec("mteb") is not None:
        for run in (_ours, _mteb):  # imports and first uses are no part of anyone's memory
            run(_case(2, 50), args.device)
    _search(_case(2, 50), args.device)
    for n_queries, n_docs in sizes:
        name, case = (
            f"{n_queries:,} queries x {n_docs:,} documents x {DIM:,}",
            _case(n_queries, n_docs),
        )
        contenders: dict[str, Callable[[], Any]] = {
            "our search alone": lambda case=case: _search(case, args.device)
        }
        if present:
            contenders |= {
                "ours": lambda case=case: _ours(case, args.device),
                "mteb": lambda case=case: _mteb(case, args.device),
            }
        laps[name], found = race(contenders, rounds=args.rounds, device=args.device)
        if present:
            ours, mteb = laps[name]["ours"], laps[name]["mteb"]
            ratios[f"{name}: mteb / ours"] = mteb.best / ours.best
            figures[f"{name}: our extra memory / mteb's"] = ours.peak_mb / mteb.peak_mb
            figures[f"{name}: values"] = {
                key: round(found["ours"][key], 4)
                for key in ("ndcg_at_10", "recall_at_1000", "mrr_at_10")
            }
            differences |= {
                f"{name}: {what}": pair
                for what, pair in _differences(n_queries, found["ours"], found["mteb"]).items()
            }
    conditions = {
        "rows": f"random, float32, seed 0; a query is noise and a little of its {POSITIVES} relevant documents",
        "cut-offs": K_VALUES,
        "mteb": "chunked_full_corpus_search as SearchEncoderWrapper calls it, cosine, and calculate_retrieval_scores",
        "encoding": "none: both are given the rows",
        "equal": "every metric; mteb rounds all but MRR to 5 decimals, and two kernels may order scores that differ in the last "
        "bit otherwise: half of one query's value may differ",
        "not installed": [] if present else ["mteb"],
    }
    finish(
        "search",
        args,
        conditions=conditions,
        laps=laps,
        ratios=ratios,
        differences=differences,
        figures=figures,
    )


def _sizes(parser: ArgumentParser) -> None:
    parser.add_argument("--queries", type=int, metavar="N", help="one case, with so many queries")
    parser.add_argument("--docs", type=int, metavar="N", help="one case, with so many documents")


def _case(n_queries: int, n_docs: int) -> Case:
    rng = np.random.default_rng(0)
    docs = _unit(rng.standard_normal((n_docs, DIM), dtype=np.float32))
    queries, qrels = rng.standard_normal((n_queries, DIM), dtype=np.float32), {}
    for i, query in enumerate(queries):
        relevant = rng.choice(n_docs, POSITIVES, replace=False)
        query += rng.uniform(0, 6, POSITIVES).astype(np.float32) @ docs[relevant]
        qrels[f"q{i}"] = {
            f"d{doc}": int(grade)
            for doc, grade in zip(relevant, rng.integers(1, 4, POSITIVES), strict=True)
        }
    return Case(_unit(queries), docs, qrels)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _search(case: Case, device: str) -> int:
    from evals.ranking.search import top_k

    return sum(
        found.docs.size for found in top_k(case.queries, case.docs, max(K_VALUES), device=device)
    )


def _ours(case: Case, device: str) -> dict[str, float]:
    """What the bridge does with the rows of a retrieval task."""
    from mteb.similarity_functions import cos_sim

    from evals.mteb_bridge.adapter import search_blocks
    from evals.mteb_bridge.bridge import retrieval_scores

    depth = max(K_VALUES)
    blocks = search_blocks(case.queries, case.docs, depth + 1, cos_sim=cos_sim, device=device)
    ids = [f"d{i}" for i in range(len(case.docs))]
    return retrieval_scores(blocks, list(case.qrels), ids, case.qrels, K_VALUES, depth=depth).values


def _mteb(case: Case, device: str) -> dict[str, float]:
    """Its full-corpus search over given embeddings and its scoring."""
    import mteb
    import torch
    from datasets import Dataset, disable_progress_bars
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, make_score_dict
    from mteb.models.search_wrappers import chunked_full_corpus_search

    disable_progress_bars()
    queries, docs = (
        torch.from_numpy(case.queries).to(device),
        torch.from_numpy(case.docs).to(device),
    )
    ids, chunk = [f"d{i}" for i in range(len(docs))], 50_000
    starts = iter(range(0, len(docs), chunk))
    heaps = chunked_full_corpus_search(
        task_corpus=Dataset.from_dict({"id": ids, "text": ids, "title": [""] * len(ids)}),
        corpus_chunk_size=chunk,
        query_idx_to_id={i: f"q{i}" for i in range(len(queries))},
        query_embeddings=queries,
        task_metadata=mteb.get_task(
            "SciFact"
        ).metadata,  # any text task: it only says how a corpus is read
        hf_subset="default",
        hf_split="test",
        top_k=max(K_VALUES),
        encode_kwargs={"show_progress_bar": False},
        encode_fn=lambda *_, **__: docs[(start := next(starts)) : start + chunk],
        similarity_fn=mteb.similarity_functions.cos_sim,
        search_k_offset=1,
    )
    run = {query: {doc: score for score, doc in heap} for query, heap in heaps.items()}
    found = calculate_retrieval_scores(run, case.qrels, K_VALUES)
    return make_score_dict(
        ndcg=found.ndcg,
        _map=found.map,
        recall=found.recall,
        precision=found.precision,
        mrr=found.mrr,
        naucs=found.naucs,
        naucs_mrr=found.naucs_mrr,
        hit_rate=found.hit_rate,
        task_scores={},
    )


def _differences(
    n_queries: int, ours: Mapping[str, float], mteb: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """By kind of metric the largest difference and the largest that passes; a metric that only one has is an infinite one."""
    found: dict[str, tuple[float, float]] = {}
    for kind, allowed in (("metrics", 1e-5 + 0.5 / n_queries), ("nAUC", 1e-3)):
        keys, same = (
            sorted(key for key in values if key.startswith("nauc") == (kind == "nAUC"))
            for values in (ours, mteb)
        )
        pair = (
            [[values[key] for key in keys] for values in (ours, mteb)]
            if keys == same
            else [[0.0], []]
        )
        found[kind] = (largest_difference(*pair), allowed)
    return found


if __name__ == "__main__":
    main()
