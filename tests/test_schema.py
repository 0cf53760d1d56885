"""What an encoder may say of itself is stated in the schema, and one that says nothing is an encoder too."""

from dataclasses import replace

from evals.embeddings.store import Store
from evals.schema import Encoder, EncoderInfo, StreamingEncoder, TruncatingEncoder
from tests.toys import HashEncoder, text_side


class LanguageEncoder(HashEncoder):
    """A toy that says all it may say."""

    by_language = True

    def __init__(self) -> None:
        super().__init__()
        self.source = {"folder": "/models/toy", "repo": None}
        self.batches = {"texts": [8, 4]}
        self.usage = {"requests": 3}

    def truncated(self, side) -> int:
        return sum(len(text) > 5 for text in side.items)


def test_an_encoder_of_four_members_has_the_defaults():
    toy = HashEncoder()
    assert isinstance(toy, Encoder)
    assert EncoderInfo.read(toy) == EncoderInfo({}, {}, {}, by_language=False)
    assert not isinstance(toy, StreamingEncoder | TruncatingEncoder)


def test_an_encoder_is_read_as_it_is_now():
    toy = LanguageEncoder()
    assert EncoderInfo.read(toy) == EncoderInfo(toy.source, toy.batches, toy.usage, True)
    toy.usage = {"requests": 4}
    assert EncoderInfo.read(toy).usage == {"requests": 4}
    assert isinstance(toy, TruncatingEncoder)
    assert toy.truncated(text_side(["short", "longer"])) == 1


def test_only_the_texts_of_an_encoder_by_language_are_stored_apart(tmp_path):
    english, german = (replace(text_side(["Hand"]), language=name) for name in ("en", "de"))
    for toy, encoded in ((HashEncoder(), [1, 0]), (LanguageEncoder(), [1, 1])):
        store = Store(tmp_path / type(toy).__name__)
        assert [store.embed(toy, side).encoded for side in (english, german)] == encoded
