"""The maps of the tree are true: docs/map.md to the last sentence, README.md to the last file."""

from collections import Counter

import pytest

from tests.file_map import PAGE, ROOT, files, folders, page, sentence
from tests.test_imports import MAY_SEE

README = (ROOT / "README.md").read_text(encoding="utf-8").partition("## How it is built")[2]
MAP = README.partition("```")[2].partition("```")[0]
BESIDE_ROOMS = ("jina_clip", "evals")


def test_the_page_of_the_tree_is_the_one_that_the_files_make():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.file_map --write"


@pytest.mark.parametrize("folder", list(folders()), ids=lambda folder: folder.name)
def test_every_file_opens_with_a_sentence_of_its_own(folder):
    sentences = {path: sentence(path) for path in folder.glob("*.py")}
    assert not [path for path, text in sentences.items() if not text.endswith((".", "?"))]
    assert [text for text, count in Counter(sentences.values()).items() if count > 1] == []


@pytest.mark.parametrize("folder", list(folders()), ids=lambda folder: folder.name)
def test_the_readme_names_every_room_and_every_file_beside_the_rooms(folder):
    assert f"{folder.name}/" in MAP
    if folder.name in BESIDE_ROOMS:
        assert [path.name for path in files(folder) if path.name not in MAP] == []


def test_a_room_stands_after_all_that_it_sees():
    rooms = [folder.name for folder in folders() if folder.name not in BESIDE_ROOMS]
    for place, room in enumerate(rooms):
        assert not MAY_SEE.get(room, set()) & set(rooms[place:])
