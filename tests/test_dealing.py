"""Shards are dealt to workers that may fail or die, and each is stored, or named after three tries."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings.failures import FailedShardsError
from evals.evaluation.dealing import LONGEST, Dealing, Shard, ShardEnded
from evals.evaluation.encoding import NamedSide
from evals.evaluation.encoding_plan import PlannedSide
from tests.toys import text_side

WORKERS = {"a", "b"}


def dealing(shards: int, items: int = 2) -> Dealing:
    side = text_side([f"text {number}" for number in range(shards * items)])
    planned = PlannedSide(
        benchmark="toy",
        model="toy",
        kind="text",
        key="key",
        content="content",
        items=len(side),
        shards=[[(start, start + items)] for start in range(0, len(side), items)],
    )
    return Dealing("toy", [NamedSide(side, "key", "content")], [planned])


def numbers(lease: list[Shard]) -> list[int]:
    return [shard.number for shard in lease]


def stored(shard: Shard) -> ShardEnded:
    return ShardEnded(shard.number, shard.items)


def test_a_shard_is_told_by_the_positions_of_its_items():
    shard = Shard(0, "key", "content", "image", ((3, 5), (9, 10)))
    assert shard.items == 3
    np.testing.assert_array_equal(shard.positions, [3, 4, 9])


def test_leases_are_long_at_first_and_single_shards_in_the_end():
    deal = dealing(100)
    lengths = []
    while not deal.finished:
        for worker in sorted(WORKERS):
            lengths.append(len(deal.lease(worker, WORKERS)))
            deal.finish(worker)
    assert lengths[0] == LONGEST and lengths[-1] == 1
    assert lengths == sorted(lengths, reverse=True) and sum(lengths) == 100


def test_what_a_dead_worker_had_stored_is_not_dealt_again():
    deal = dealing(8)
    lease = deal.lease("a", WORKERS)
    assert numbers(lease) == [0, 1]
    deal.end("a", stored(lease[0]))
    deal.take_back("a")
    assert (deal.done, numbers(deal.lease("a", WORKERS))) == (2, [1])


def test_a_shard_that_a_worker_died_of_goes_to_another_and_alone():
    deal = dealing(8)
    deal.lease("a", WORKERS)
    deal.take_back("a", "died")
    assert numbers(deal.lease("a", WORKERS)) == [1]
    assert numbers(deal.lease("b", WORKERS)) == [0]
    # it fails there, too: the third try is of whoever comes
    deal.end("b", ShardEnded(0, 2, "no"))
    deal.finish("b")
    assert numbers(deal.lease("b", WORKERS)) == [0]


def test_a_shard_that_failed_three_times_is_named_and_the_rest_is_stored():
    deal = dealing(3)
    tries = Counter()
    while not deal.finished:
        (shard,) = deal.lease("a", {"a"})
        tries[shard.number] += 1
        broken = shard.number == 1
        deal.end("a", ShardEnded(1, 2, "is broken.") if broken else stored(shard))
        deal.finish("a")
    assert tries == {0: 1, 1: 3, 2: 1} and deal.encoded == {"image": 0, "text": 4}
    with pytest.raises(FailedShardsError) as caught:
        deal.check()
    assert str(caught.value) == (
        "toy: 1 shard could not be encoded, in 3 tries each. 2 texts, t2 to t3: is broken. All others "
        "are stored, and nothing is scored without them. Mend that, and run the same command again."
    )
    assert caught.value.exit_code == 3


def test_when_no_shard_can_be_encoded_the_others_are_not_tried():
    deal = dealing(50)
    tries = 0
    while not deal.finished:
        for shard in deal.lease("a", {"a"}):
            deal.end("a", ShardEnded(shard.number, 2, "no weights"))
            tries += 1
        deal.finish("a")
    assert tries < 25 and len(deal.failed) >= 3
    with pytest.raises(FailedShardsError, match="None could by then, so the rest was not tried"):
        deal.check()


def test_that_the_rest_was_not_tried_is_said_also_when_another_worker_stores_its_last_shard():
    deal = dealing(50)
    among = {"slow", "bad"}
    slow = deal.lease("slow", among)
    while len(deal.failed) < 3:
        for shard in deal.lease("bad", {"bad"}):
            deal.end("bad", ShardEnded(shard.number, 2, "no weights"))
        deal.finish("bad")
    for shard in slow:
        deal.end("slow", stored(shard))
    deal.finish("slow")
    assert deal.finished and deal.done
    with pytest.raises(FailedShardsError, match="so the rest was not tried"):
        deal.check()


def test_what_another_process_is_at_is_done_when_the_lease_is():
    deal = dealing(1)
    (shard,) = deal.lease("a", WORKERS)
    deal.end("a", ShardEnded(shard.number, 1))
    assert (deal.done, deal.encoded["text"], deal.finished) == (1, 1, False)
    deal.finish("a")
    assert (deal.done, deal.encoded["text"], deal.finished) == (2, 1, True)


def test_parts_of_a_shard_that_end_after_it_was_dealt_again_are_no_second_failure():
    """Another command was at a part of it, and gave that up: two parts of one lease end apart."""
    deal = dealing(1)
    (shard,) = deal.lease("a", WORKERS)
    deal.end("a", ShardEnded(shard.number, 1, "is broken"))
    deal.end("a", ShardEnded(shard.number, 1, "is broken, too"))
    assert numbers(deal.lease("b", WORKERS)) == [shard.number]
    assert not deal.waiting
    deal.end("b", ShardEnded(shard.number, 1))
    deal.end("a", ShardEnded(shard.number, 1))
    for worker in sorted(WORKERS):
        deal.finish(worker)
    assert (deal.done, deal.encoded["text"], deal.finished) == (2, 2, True)


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_whatever_dies_each_shard_is_stored_and_a_death_costs_one_shard_at_most(shards, data):
    deal = dealing(shards)
    passes, deaths = Counter(), 0
    while not deal.finished:
        worker = data.draw(st.sampled_from(["a", "b", "c"]))
        for shard in deal.lease(worker, {"a", "b", "c"}):
            passes[shard.number] += 1
            if deaths < 5 and data.draw(st.integers(0, 3)) == 0:
                deaths += 1
                deal.take_back(worker)  # a node that is lost, which is no fault of the shard
                break
            deal.end(worker, stored(shard))
        deal.finish(worker)
    assert set(passes) == set(range(shards)) and deal.done == 2 * shards
    assert passes.total() <= shards + deaths
    deal.check()
