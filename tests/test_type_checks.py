"""A function within a function is checked each time, and its check is made once."""

from typing import Any

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from evals.embeddings.truncation import truncate
from tests import beartype_once


def through(value: object, parameter: Any, result: Any) -> object:
    """The value out of an inner function that takes one type and gives another."""

    @jaxtyped(typechecker=beartype_once)
    def inner(value: parameter) -> result:
        return value

    return inner(value)


def test_each_definition_of_an_inner_function_is_checked_by_its_types() -> None:
    row, rows = Float[np.ndarray, "d"], Float[np.ndarray, "n d"]
    for _ in range(2):
        assert through(1, int, int) == 1
        assert through("a", str, str) == "a"
        assert through(np.zeros(3), row, row) is not None
        with pytest.raises(TypeCheckError, match="parameters"):
            through("a", int, int)
        with pytest.raises(TypeCheckError, match="return value"):
            through(1, int, str)
        with pytest.raises(TypeCheckError, match="parameters"):
            through(np.zeros(3), rows, row)


def test_shapes_of_one_call_say_nothing_of_the_next() -> None:
    square = Float[np.ndarray, "n n"]
    for size in (2, 3):
        assert through(np.zeros((size, size)), square, square) is not None
    with pytest.raises(TypeCheckError):
        through(np.zeros((2, 3)), square, square)


def test_an_equal_signature_is_checked_by_the_same_function() -> None:
    def defined(hint: Any) -> Any:
        def function(value: hint) -> None: ...

        return beartype_once(function)

    assert defined(int) is defined(int)
    assert defined(int) is not defined(str)


def test_a_default_belongs_to_its_definition() -> None:
    def defined(default: object) -> Any:
        def function(value: object = default) -> object:
            return value

        return beartype_once(function)

    assert defined(1)() == 1
    assert defined(2)() == 2


def test_the_packages_are_checked() -> None:
    with pytest.raises(TypeCheckError):
        truncate("rows", 2)
