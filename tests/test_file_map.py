"""The map of the tree is true to the last sentence."""

from collections import Counter

import pytest

from tests.file_map import PAGE, folders, page, sentence
from tests.test_imports import MAY_SEE

BESIDE_ROOMS = ("jina_clip", "evals")


def test_the_page_of_the_tree_is_the_one_that_the_files_make():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.file_map --write"


@pytest.mark.parametrize("folder", list(folders()), ids=lambda folder: folder.name)
def test_every_file_opens_with_a_sentence_of_its_own(folder):
    sentences = {path: sentence(path) for path in folder.glob("*.py")}
    assert not [path for path, text in sentences.items() if not text.endswith((".", "?"))]
    assert [text for text, count in Counter(sentences.values()).items() if count > 1] == []


def test_a_room_stands_after_all_that_it_sees():
    rooms = [folder.name for folder in folders() if folder.name not in BESIDE_ROOMS]
    for place, room in enumerate(rooms):
        assert not MAY_SEE.get(room, set()) & set(rooms[place:])
