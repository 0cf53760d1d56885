"""Numbers of things in sentences: `1 file`, `1,200 files`, `1 query is`, `2 queries are`."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun; `many` is what it becomes of any number but 1, else it takes an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
