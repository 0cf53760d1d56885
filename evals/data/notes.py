"""Says how data was read, and what was counted while reading, in words for whoever runs it."""

from collections.abc import Mapping

from evals.data import judged
from evals.data.sides import EQUAL_IMAGES, SEVERAL_FRAMES
from evals.data.table_rows import MERGED_ROWS

COUNTED = {
    MERGED_ROWS: "rows that repeat an image, joined to its first row with their captions",
    EQUAL_IMAGES: "images that equal one before them, measured as they are",
    SEVERAL_FRAMES: "images of several frames or pages, measured by the first",
}


def notes(origin: Mapping[str, str]) -> list[str]:
    """A sentence for how tables were read, and one for each thing that was counted."""
    read = []
    # Whoever did not name the columns must see which were taken.
    if "columns" in origin:
        read = [f"read as {origin['layout']}, columns {origin['columns']}"]
    counted = [f"{text}: {int(origin[key]):,}" for key, text in COUNTED.items() if key in origin]
    return [*read, *judged.notes(origin), *counted]
