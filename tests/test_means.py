"""A mean over subsets is of all of them, and each counts the same."""

from evals.records.means import groups, has_mean, plain_mean


def of(*parts: tuple[str, str]) -> dict[str, list[tuple[str, str]]]:
    return groups(parts, subset=lambda part: part[0], key=lambda part: part[1])


def test_what_all_subsets_have_is_averaged():
    assert of(("en", "R@1"), ("de", "R@1")) == {"R@1": [("en", "R@1"), ("de", "R@1")]}


def test_what_one_subset_lacks_has_no_mean():
    assert of(("en", "R@1"), ("de", "R@1"), ("en", "MRR")).keys() == {"R@1"}


def test_a_single_subset_is_no_mean():
    assert of(("en", "R@1"), ("en", "MRR")) == {}


def test_each_subset_counts_the_same_and_the_order_changes_no_bit():
    values = [0.1, 0.2, 0.3, 1e-17]
    assert plain_mean(values) == plain_mean(values[::-1]) == 0.15
    assert has_mean("R@1") and not has_mean("mean_rank")
