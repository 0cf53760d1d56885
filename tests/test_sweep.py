"""A sweep's ranks are those of separate runs bit for bit; fewer bits and rescoring are what numpy says they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings.precision import (
    bytes_per_vector,
    calibration,
    parse_precision,
    quantise,
    with_rescoring,
)
from evals.embeddings.truncation import truncate
from evals.ranking import accelerator, definition, dispatch, ranks, sweep
from evals.ranking.definition import Ranks
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import hit_at, mean
from evals.ranking.ranks import cross_ranks
from evals.ranking.relevance import Relevant
from evals.ranking.rescore import Rows, rescored
from evals.ranking.sweep import ranks_at, sweep_cross_ranks
from evals.schema import ConfigError
from evals.stats.intervals import mean_intervals
from evals.tasks.image_text import score
from tests.ranking import assert_defined, same
from tests.toys import image_text


def pairs_of(n_images: int, n_texts: int, rng: np.random.Generator) -> Relevant:
    return Relevant.single(rng.permutation(np.arange(n_texts) % n_images))


def hard_rows(seed: int, n: int, d: int, kind: str) -> np.ndarray:
    """Rows with duplicates, zeros, near-duplicates that only float64 tells apart, or values on a coarse grid (exact ties)."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d)).astype(np.float32)
    if kind == "grid":
        rows = np.sign(rows)
    if kind == "near":
        rows = rows[rng.integers(0, min(n, 3), n)] * (
            1 + rng.integers(-2, 3, (n, d)).astype(np.float32) * np.float32(2.0**-23)
        )
    if kind == "scaled":
        rows *= np.exp2(rng.integers(-12, 12, (n, 1))).astype(np.float32)
    rows[rng.integers(0, n, n // 4)] = rows[0]
    if kind == "zero":
        rows[rng.integers(0, n, 2)] = 0
        rows[:, : d // 2] *= rng.integers(0, 2, (n, 1)).astype(
            np.float32
        )  # some prefixes are zero, their rows are not
    return rows


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["plain", "grid", "near", "scaled", "zero"]),
    st.sets(st.sampled_from([1, 3, 8, 24, 40]), min_size=1),
    st.sampled_from([1, 7, 320]),
)
def test_a_sweep_equals_a_run_of_each_dimension_bit_for_bit(
    seed: int, kind: str, dims: set[int], chunk: int
) -> None:
    n_images, n_texts = [(2, 3), (9, 9), (30, 70)][
        seed % 3
    ]  # few shapes: a kernel is compiled for each
    images, texts = hard_rows(seed, n_images, 40, kind), hard_rows(seed + 1, n_texts, 40, kind)
    t2i = pairs_of(n_images, n_texts, np.random.default_rng(seed))
    found = sweep_cross_ranks(images, texts, t2i, sorted(dims), chunk=chunk)
    assert sorted(found) == sorted(dims)
    for dim, both in found.items():
        alone = cross_ranks(truncate(images, dim), truncate(texts, dim), t2i)
        assert same(both.t2i, alone.t2i) and same(both.i2t, alone.i2t)


def test_an_accelerator_s_groups_and_the_compiled_pass_count_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)  # more texts than the compiled pass takes at once
    images, texts, t2i = (
        hard_rows(1, 150, 24, "plain"),
        hard_rows(2, 1300, 24, "plain"),
        pairs_of(150, 1300, rng),
    )
    before = sweep_cross_ranks(images, texts, t2i, [4, 24])
    monkeypatch.setattr(dispatch, "_way_to_count", lambda device: accelerator.count)
    after = sweep_cross_ranks(images, texts, t2i, [4, 24])
    assert all(same(x, y) for dim in (4, 24) for x, y in zip(before[dim], after[dim], strict=True))


def test_ranks_of_a_sweep_are_those_of_the_definition_at_each_dimension() -> None:
    rng = np.random.default_rng(3)
    images, texts = (
        rng.standard_normal((40, 64)).astype(np.float32),
        rng.standard_normal((90, 64)).astype(np.float32),
    )
    t2i = pairs_of(40, 90, rng)
    for dim, both in sweep_cross_ranks(images, texts, t2i, [3, 17, 64]).items():
        expected = definition.cross_ranks(truncate(images, dim), truncate(texts, dim), t2i)
        assert_defined(both.t2i, expected.t2i)
        assert_defined(both.i2t, expected.i2t)


def test_a_common_pass_is_used_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a run of its own")

    rng = np.random.default_rng(0)
    monkeypatch.setattr(sweep, "cross_ranks", refuse)
    sweep_cross_ranks(
        hard_rows(0, 9, 16, "plain"), hard_rows(1, 20, 16, "plain"), pairs_of(9, 20, rng), [4, 16]
    )


def test_a_width_that_is_not_there_and_a_bad_value_are_refused() -> None:
    rng = np.random.default_rng(0)
    images, texts, t2i = (
        hard_rows(0, 9, 16, "plain"),
        hard_rows(1, 20, 16, "plain"),
        pairs_of(9, 20, rng),
    )
    with pytest.raises(ValueError, match="cannot keep 17 of 16"):
        sweep_cross_ranks(images, texts, t2i, [4, 17])
    texts[7, 12] = np.nan
    with pytest.raises(ValueError, match="text 7 holds NaN"):
        sweep_cross_ranks(images, texts, t2i, [4, 16])


# precisions


def test_float16_and_int8_and_binary_rows_are_numpys() -> None:
    rows = truncate(hard_rows(0, 30, 20, "plain"), 20)
    assert np.array_equal(quantise(rows, "float16"), rows.astype("f2").astype("f4"))
    eight = quantise(rows, "int8")
    assert np.abs(eight).max() == 127 and np.array_equal(eight, np.rint(eight))
    assert (
        np.abs(eight * (np.abs(rows).max() / 127) - rows).max() <= np.abs(rows).max() / 254 * 1.0001
    )
    assert np.array_equal(quantise(np.zeros((2, 3), np.float32), "int8"), np.zeros((2, 3)))


def test_a_value_of_zero_is_no_one_in_binary() -> None:
    """As the manifest states it: a value above 0 is a 1."""
    rows = np.array([[0.0, 0.5, -0.5, -0.0]], np.float32)
    assert quantise(rows, "binary").tolist() == [[-1, 1, -1, -1]]


def test_binary_scores_rank_by_hamming_distance() -> None:
    rng = np.random.default_rng(5)
    images, texts, t2i = (
        hard_rows(6, 25, 24, "plain"),
        hard_rows(7, 60, 24, "plain"),
        pairs_of(25, 60, rng),
    )
    found = ranks_at(images, texts, t2i, [8, 24], ["binary"])
    for dim in (8, 24):
        x, y = (np.packbits(truncate(rows, dim) > 0, axis=1) for rows in (images, texts))
        distance = np.bitwise_count(y[:, None] ^ x[None]).sum(axis=2).astype(int)
        own = distance[np.arange(60), t2i.docs][:, None]
        assert found[dim, "binary"].t2i.better.tolist() == (distance < own).sum(axis=1).tolist()
        assert (
            found[dim, "binary"].t2i.tied.tolist() == ((distance == own).sum(axis=1) - 1).tolist()
        )


def test_rows_of_equal_bits_score_chance() -> None:
    rng = np.random.default_rng(0)
    images, texts = (
        np.abs(rng.standard_normal((n, 16))).astype(np.float32) + 0.1 for n in (20, 40)
    )
    found = ranks_at(
        images, texts, Relevant.single(np.arange(40) % 20), [16], ["float32", "binary"]
    )
    assert mean(hit_at(found[16, "binary"].t2i, 1)) == pytest.approx(1 / 20)
    assert mean(hit_at(found[16, "binary"].t2i, 10)) == pytest.approx(10 / 20)
    assert found[16, "float32"].t2i.tied.max() == 0


def test_bytes_names_and_calibration() -> None:
    assert [bytes_per_vector(name, 100) for name in ("float32", "float16", "int8", "binary")] == [
        400,
        200,
        100,
        13,
    ]
    assert bytes_per_vector("binary+rescore50", 64) == 8 + 256
    assert with_rescoring(("float32", "int8", "int8"), 50) == ("float32", "int8", "int8+rescore50")
    assert (
        "127" in calibration(("int8",))["int8"]
        and "again" in calibration(("binary+rescore50",))["binary+rescore50"]
    )
    for wrong in ("int4", "float32+rescore50", "binary+rescore9", ""):
        with pytest.raises(ConfigError):
            parse_precision(wrong)
    with pytest.raises(ConfigError, match="--rescore"):
        with_rescoring(("float32",), 50)


# rescoring


def test_rescoring_by_hand() -> None:
    """Twelve documents: coarse scores 12 … 1, the exact order turned round, ten candidates."""
    coarse_docs = np.arange(12, 0, -1, dtype=np.float32)[:, None]
    exact_docs = np.linspace(0.1, 0.9, 12, dtype=np.float32)[:, None]
    query = np.ones((3, 1), np.float32)
    relevant = Relevant.from_pairs(np.array([[0, 0], [1, 9], [2, 10]]), 3)
    coarse = ranks.ranks(query, coarse_docs, relevant)
    out = rescored(coarse, Rows(query, coarse_docs), Rows(query, exact_docs), relevant, 10)
    assert out.better.tolist() == [
        9,
        0,
        10,
    ]  # the first candidate is now the last; the last the first; the eleventh stays there
    assert out.score.tolist() == [exact_docs[0, 0], exact_docs[9, 0], 2.0]
    assert out.ndcg10 == pytest.approx([1 / np.log2(11), 1, 0])


def test_rescoring_all_documents_is_float32() -> None:
    rng = np.random.default_rng(5)
    images, texts, t2i = (
        hard_rows(6, 25, 24, "plain"),
        hard_rows(7, 60, 24, "grid"),
        pairs_of(25, 60, rng),
    )
    found = ranks_at(images, texts, t2i, [8, 24], ["float32", "binary+rescore60", "int8+rescore60"])
    for dim in (8, 24):
        for name in ("binary+rescore60", "int8+rescore60"):
            for a, b in zip(found[dim, "float32"], found[dim, name], strict=True):
                assert a.better.tolist() == b.better.tolist() and a.tied.tolist() == b.tied.tolist()
                assert a.tied_relevant.tolist() == b.tied_relevant.tolist()
                assert a.ndcg10 == pytest.approx(b.ndcg10, abs=1e-12)


def test_rescored_ranks_are_those_of_the_whole_order_written_out() -> None:
    rng = np.random.default_rng(9)
    queries, docs = (
        truncate(rng.standard_normal((n, 12)).astype(np.float32), 12) for n in (40, 70)
    )
    relevant = Relevant.from_pairs(
        np.stack([np.repeat(np.arange(40), 2), rng.permutation(80) % 70], axis=1), 40
    )
    x, y = quantise(queries, "binary"), quantise(docs, "binary")
    out = rescored(ranks.ranks(x, y, relevant), Rows(x, y), Rows(queries, docs), relevant, 15)
    for i in range(40):
        coarse, fine = x[i] @ y.T, queries[i].astype(float) @ docs.T.astype(float)
        chosen = sorted(range(70), key=lambda j: (-coarse[j], j))[:15]
        final = np.full(70, -np.inf)
        final[chosen] = 1000 + fine[chosen]
        final = np.where(np.isinf(final), coarse, final)
        own = np.isin(np.arange(70), relevant.docs[relevant.indptr[i] : relevant.indptr[i + 1]])
        best = final[own].max()
        assert out.better[i] == (final[~own] > best + 1e-9).sum()
        assert out.tied[i] == (np.abs(final[~own] - best) < 1e-9).sum()
        assert out.tied_relevant[i] == (np.abs(final[own] - best) < 1e-9).sum()


# all of it through the task


def test_scores_come_by_dimension_precision_and_direction_with_the_intervals_of_separate_calls() -> (
    None
):
    data = image_text([i // 3 for i in range(60)])
    rows = [hard_rows(0, 20, 32, "plain"), hard_rows(1, 60, 32, "plain")]
    names = ("float32", "int8", "binary", "binary+rescore10")
    every = score(rows, data, dims=[32, 8], precisions=names)
    assert [(s.dim, s.precision, s.direction) for s in every] == [
        (dim, name, direction) for dim in (32, 8) for name in names for direction in ("t2i", "i2t")
    ]
    for s in every:
        (alone,) = [
            one
            for one in score(rows, data, dims=[s.dim], precisions=[s.precision])
            if one.direction == s.direction
        ]
        assert alone.values == s.values
        columns = of_queries(Ranks(**s.columns))
        own = mean_intervals(columns, np.arange(60) // 3 if s.direction == "t2i" else np.arange(20))
        assert all(s.values[name].interval == own[name] for name in columns)
