"""The code reads as style.md wants it, room by room, and the measuring notices where it does not."""

from pathlib import Path

import pytest

from tests.words import Measure, measure, rooms

AIMS = {
    "pronouns per 100 functions": 5.0,
    "syntax nodes per line": 8.5,
    "walrus per 1,000 lines": 2.0,
    "% of lines wider than 100": 4.0,
}
# Per 100 lines of all rooms. The aim is 4, each of them why, a formula or a source.
COMMENTS = 3.7


def above(measured: Measure, limits: dict[str, float]) -> list[str]:
    """The rates that reach their limit, in words."""
    rates = measured.rates
    return [f"{rates[what]:.1f} {what}" for what, limit in limits.items() if rates[what] >= limit]


@pytest.mark.parametrize("room", rooms())
def test_a_room_reads_as_style_wants_it(room):
    assert not above(measure(rooms()[room]), AIMS)


def test_all_rooms_together_read_as_style_wants_it():
    measured = measure([path for paths in rooms().values() for path in paths])
    assert not above(measured, AIMS)
    assert measured.rates["comments per 100 lines"] >= COMMENTS


PLAIN = '''
"""A sentence."""

def score(queries, *, k):
    # the plain mean, as in the paper
    total = 0
    for query in queries:
        total += query[k]
    return total
'''
BAD = {
    "pronouns per 100 functions": "def f(xs):\n    found = 1\n    return found\n",
    "syntax nodes per line": "x = [a + b * c for a, b in f(1, 2) for c in g(a, b) if a < b < c and h(c)]\n",
    "walrus per 1,000 lines": "if (n := 1):\n    pass\n",
    "% of lines wider than 100": f"x = {'1' * 100}\n",
}


@pytest.mark.parametrize("what", AIMS)
def test_bad_code_is_above_the_aim(what, tmp_path):
    file = tmp_path / "sample.py"
    file.write_text(PLAIN)
    assert not above(measure([file]), AIMS)
    file.write_text(BAD[what])
    assert any(what in text for text in above(measure([file]), AIMS))


@pytest.mark.parametrize(
    "function",
    [
        "def f(found): ...",
        "def f(*, other): ...",
        "async def f(*left): ...",
        "def f(**more): ...",
        "def f():\n    for every in x: ...",
        "def f():\n    with x as given: ...",
        "def f():\n    return [one for one in x]",
    ],
)
def test_a_pronoun_is_seen_wherever_a_function_may_name_something(function, tmp_path):
    file = tmp_path / "sample.py"
    file.write_text(function)
    assert measure([file]).pronouns == 1


def test_comments_blank_lines_and_wide_lines_are_counted_by_hand(tmp_path):
    file = tmp_path / "sample.py"
    file.write_text(f"# why\n\nx = 1\n    # because\ny = 2  # {'z' * 100}\n".replace("    #", "#"))
    measured = measure([Path(file)])
    assert (measured.lines, measured.comments, measured.wide) == (4, 2, 1)
