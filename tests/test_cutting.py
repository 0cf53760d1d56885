"""Shards are cut alike whichever of them are done, in some ten MB at most."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.embeddings.cutting import Limits, cut, limits
from evals.schema import Side
from tests.toys import text_side


def images(n: int) -> Side:
    """Images of no content: a length would be asked of them in vain."""
    return Side("image", [None] * n, ["x"] * n, ["x"] * n)


def texts(n: int, characters: int = 1) -> Side:
    return Side("text", ["x" * characters] * n, ["x"] * n, ["x"] * n)


def joined(shards: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(shards))


@pytest.mark.parametrize(
    ("side", "dim", "expected"),
    [
        (images(1_000), 1024, Limits(256, 0)),
        (images(16_384), 1024, Limits(256, 0)),
        (images(50_000), 1024, Limits(768, 0)),
        # ten MB, in whole passes
        (images(1_000_000), 1024, Limits(2560, 0)),
        (images(1_000_000), 768, Limits(3328, 0)),
        (images(1_000_000), 100_000, Limits(256, 0)),
        (texts(1_000), 64, Limits(4096, 1 << 17)),
        (texts(100_000), 1024, Limits(2560, 6 << 17)),
        (texts(1_000_000), 1024, Limits(2560, 1 << 20)),
    ],
)
def test_a_shard_is_a_64th_of_a_side_and_some_ten_mb_at_most(side, dim, expected):
    most = limits(side, dim)
    assert most == expected
    assert most.items * dim * 4 <= 10 << 20 or most.items == 256


def test_a_shard_of_a_given_number_of_items_has_no_more():
    assert limits(images(50_000), 1024, 5).items == 5
    assert limits(texts(50_000), 1024, 5).items == 5


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=60),
    st.integers(1, 6),
    st.integers(1, 20),
    st.data(),
)
def test_what_is_left_falls_into_the_same_shards_whichever_are_done(sizes, items, characters, data):
    side = text_side(["x" * size for size in sizes])
    most = Limits(items, characters)
    shards = [shard.tolist() for shard in cut(side, np.arange(len(side)), most)]
    assert joined(shards) == list(range(len(side)))
    # the last one may be open, so it is among what is left
    left = [shard for shard in shards[:-1] if data.draw(st.booleans())] + shards[-1:]
    again = cut(side, np.array(joined(left)), most)
    assert [shard.tolist() for shard in again] == left


def test_a_shard_is_closed_by_what_it_holds_and_not_by_what_would_come_next():
    side, most = text_side(["x" * size for size in (2, 4, 2)]), Limits(6, 5)
    assert [shard.tolist() for shard in cut(side, np.arange(3), most)] == [[0, 1], [2]]


def test_images_are_cut_by_their_number_and_not_looked_at():
    assert [len(shard) for shard in cut(images(10), np.arange(10), Limits(4, 0))] == [4, 4, 2]
    # whichever of the full ones is done
    left = np.array([0, 1, 2, 3, 8, 9])
    assert [shard.tolist() for shard in cut(images(10), left, Limits(4, 0))] == [
        [0, 1, 2, 3],
        [8, 9],
    ]
