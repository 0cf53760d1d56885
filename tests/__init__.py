"""What the tests need before any of them is imported."""

from tests.type_checks import beartype_once  # noqa: F401 - pyproject.toml names it to jaxtyping
