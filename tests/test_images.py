"""Images come from paths, URLs, data URIs and Pillow; what is no image of 8 bits a channel is refused by name."""

import base64
import http.server
import threading
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from jina_clip import Preprocess
from jina_clip.images import read_image, to_rgb
from tests.test_preprocess import picture

pytestmark = pytest.mark.faults


@pytest.fixture
def served_png():
    """A PNG behind a URL on loopback, and its bytes."""
    buffer = BytesIO()
    picture(20, 10).save(buffer, "PNG")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/cat.png" else 404)
            self.end_headers()
            self.wfile.write(buffer.getvalue() if self.path == "/cat.png" else b"")

        def log_message(self, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", buffer.getvalue()
        server.shutdown()


def test_images_come_from_paths_urls_data_uris_and_pil(served_png, tmp_path):
    url, png = served_png
    path = tmp_path / "cat.png"
    path.write_bytes(png)
    data_uri = "data:image/png;base64," + base64.b64encode(png).decode()
    sources = [
        path,
        str(path),
        f"{url}/cat.png",
        data_uri,
        Image.open(BytesIO(png)).convert("RGBA"),
    ]
    images = [read_image(source) for source in sources]
    assert all(image.mode == "RGB" for image in images)
    assert len({image.tobytes() for image in images}) == 1


def test_what_is_no_image_is_refused(served_png, tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ValueError, match="not int 3"):
        read_image(3)
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        read_image("absent.jpg")
    with pytest.raises(OSError, match=r"text\.jpg"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(OSError, match="404"):
        read_image(served_png[0] + "/absent.png")


RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)
DEEP = {
    "I;16": Image.fromarray((RAMP * 65_535).astype("<u2")),
    "I": Image.fromarray((RAMP * 65_535).astype("<i4")),
    "F": Image.fromarray(RAMP.astype("<f4")),
}


@pytest.mark.parametrize("mode", DEEP)
def test_an_image_of_more_than_8_bits_a_channel_is_refused(mode, tmp_path):
    """Pillow would clip at 255: a ramp from black to white becomes a white square, or a black one."""
    path = tmp_path / "ramp.tif"
    DEEP[mode].save(path)
    with pytest.raises(ValueError, match=rf"ramp\.tif: an image of Pillow's mode {mode}"):
        read_image(path)
    with pytest.raises(ValueError, match="has not 8 bits a channel"):
        Preprocess(size=8).pixels(DEEP[mode])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_every_mode_of_8_bits_becomes_rgb_as_pillow_says(mode):
    image = picture(9, 7, "L").convert("P").convert("PA") if mode == "PA" else picture(9, 7)
    image = image.convert(mode)
    assert to_rgb(image).tobytes() == image.convert("RGB").tobytes()


def test_messages_name_the_source_and_never_repeat_all_of_it(served_png, tmp_path):
    data = base64.b64encode(picture(200, 200).tobytes()).decode()
    (tmp_path / "cut.png").write_bytes(served_png[1][:60])
    (tmp_path / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    cases = {
        f"data:application/octet-stream;base64,{data}": "data:application/octet-stream",
        f"data:image/png;base64,{data}": "its bytes are no image that Pillow knows",
        f"data:image/png,{data}": "data:image/…;base64",
        "data:image/png;base64,a!b": "data:image/png;base64,a!b: ",
        served_png[0] + "/absent.png": "/absent.png: HTTP Error 404",
        "http://127.0.0.1:1/cat.png": "http://127.0.0.1:1/cat.png: ",
        "x" * 9000: r"x… \(9,000 characters\)",
        "": "not str ''",
        str(tmp_path): "Is a directory",
        str(tmp_path / "cut.png"): "cut.png: ",
        str(tmp_path / "noise.png"): "noise.png: ",
    }
    for source, message in cases.items():
        with pytest.raises((OSError, ValueError), match=message) as raised:
            read_image(source)
        assert len(str(raised.value)) < 400
    with pytest.raises(ValueError, match="not ndarray") as raised:
        read_image(np.zeros((500, 500, 3)))
    assert len(str(raised.value)) < 400


def test_a_file_that_pillow_opened_and_cannot_decode_is_an_error_of_reading(served_png):
    half = served_png[1][: len(served_png[1]) // 2]
    with pytest.raises(OSError, match="a PIL image of 20 x 10: "):
        read_image(Image.open(BytesIO(half)))


def test_a_data_uri_may_be_folded_into_lines(served_png):
    folded = base64.encodebytes(served_png[1]).decode()
    assert read_image(f"data:image/png;base64,{folded}").tobytes() == picture(20, 10).tobytes()
