"""pandas, for tables: optional, imported when it is used, and named when it is absent."""

from typing import Any

from evals.schema import MissingError


def import_pandas(what: str) -> Any:
    """The module pandas; MissingError says that `what` needs it, and how to get it."""
    # Here and not at the top: pandas takes half a second, and `import evals` needs none of it.
    try:
        import pandas
    except ModuleNotFoundError:
        raise MissingError(
            f"{what} needs pandas. Run: pip install 'jina-clip-evals[pandas]'."
        ) from None
    return pandas
