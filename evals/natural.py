"""Names in the order in which people count: `noise-200` before `noise-1000`."""

import re

_DIGITS = re.compile("([0-9]+)")


def natural(name: str) -> list[tuple[int, str]]:
    """The key to sort names by: runs of digits as numbers, all between them as text."""
    parts = _DIGITS.split(name)
    # Digits stand at odd places, so that a number is compared with numbers alone; 01 is no 1.
    return [(int(part) if place % 2 else 0, part) for place, part in enumerate(parts)]
