"""Tar archives: what was put is read back in place, and what an archive of data has no use for is refused by name."""

import gc
import gzip
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.data import archives
from evals.data.archives import Archive, open_tar
from evals.schema import InvalidError, MissingError

pytestmark = pytest.mark.faults

FILES = {
    "a.txt": b"one",
    "b/c.jpg": bytes(range(256)) * 5,
    "empty": b"",
    "block": b"x" * 512,
    "ä/ü.txt": b"two",
}


def info(
    name: str, size: int = 0, type: bytes = tarfile.REGTYPE, **more: object
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, type
    for key, value in more.items():
        setattr(member, key, value)
    return member


def pack(
    path: Path,
    *members: tuple[tarfile.TarInfo, bytes],
    mode: str = "w",
    form: int = tarfile.PAX_FORMAT,
) -> Path:
    with tarfile.open(path, mode, format=form) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return path


def packed(
    path: Path, files: dict[str, bytes] = FILES, mode: str = "w", form: int = tarfile.PAX_FORMAT
) -> Path:
    return pack(
        path, *((info(name, len(data)), data) for name, data in files.items()), mode=mode, form=form
    )


def contents(archive: Archive) -> dict[str, bytes]:
    return {name: archive.read(name) for name in archive.names}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_was_put_is_read_back_in_order_from_every_tar_format(
    tmp_path: Path, form: int
) -> None:
    archive = open_tar(packed(tmp_path / "x.tar", form=form))
    assert contents(archive) == FILES
    assert archive.names == list(FILES)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_longer_than_a_header_are_whole(tmp_path: Path, form: int) -> None:
    name = "long/" * 60 + "x.txt"
    assert contents(open_tar(packed(tmp_path / "x.tar", {name: b"1", "y": b"2"}, form=form))) == {
        name: b"1",
        "y": b"2",
    }


def test_folders_are_passed_over_and_names_lose_a_leading_dot(tmp_path: Path) -> None:
    members = [
        (info("./", type=tarfile.DIRTYPE), b""),
        (info("./a", type=tarfile.DIRTYPE), b""),
        (info("./a//b.txt", 1), b"!"),
    ]
    assert contents(open_tar(pack(tmp_path / "x.tar", *members))) == {"a/b.txt": b"!"}


def test_the_system_tar_and_its_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "in" / "b" / "c.txt").write_bytes(b"sea")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "in", ".")
    assert contents(open_tar(tmp_path / "x.tar")) == {"b/c.txt": b"sea"}


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar"])
def test_a_gzipped_archive_is_told_by_its_bytes_and_leaves_no_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(archives.tempfile, "tempdir", str(tmp_path / "scratch"))
    archive = open_tar(packed(tmp_path / name, mode="w:gz"))
    assert contents(archive) == FILES
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_gz_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar.gz", {"zeros": bytes(3_000_000)}, mode="w:gz")
    assert path.stat().st_size < 10_000
    with pytest.raises(
        InvalidError, match=r"x\.tar\.gz: more than 2,000,000 bytes when decompressed"
    ):
        open_tar(path, most_bytes=2_000_000)


@pytest.mark.parametrize("cut", [1, 8, 40])
def test_a_gz_that_is_cut_off_or_damaged_is_refused(tmp_path: Path, cut: int) -> None:
    path = packed(tmp_path / "x.tar.gz", mode="w:gz")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with pytest.raises(InvalidError, match=r"x\.tar\.gz: broken or truncated gzip"):
        open_tar(path)
    path.write_bytes(whole[:-6] + bytes(2) + whole[-4:])
    with pytest.raises(InvalidError, match=r"broken or truncated gzip \(CRC"):
        open_tar(path)


def test_a_full_disk_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "x.tar.gz", {"zeros": bytes(3_000_000)}, mode="w:gz")
    monkeypatch.setattr(archives.tempfile, "TemporaryFile", partial(Path("/dev/full").open, "wb"))
    with pytest.raises(OSError, match="No space left"):
        open_tar(path)


def test_threads_read_one_archive_at_once(tmp_path: Path) -> None:
    files = {f"{n}.bin": bytes([n % 256]) * (n * 37) for n in range(300)}
    archive = open_tar(packed(tmp_path / "x.tar", files))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(archive.read, archive.names * 5)) == list(files.values()) * 5


def test_an_archive_closes_its_file_with_its_last_user(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [open_tar(packed(tmp_path / f"{n}.tar")) for n in range(5)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 5
    del kept
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (
            info("l", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
            "member 'l' is a link to '/etc/passwd'",
        ),
        (info("l", type=tarfile.LNKTYPE, linkname="a.txt"), "member 'l' is a link to 'a.txt'"),
        (info("d", type=tarfile.CHRTYPE), "member 'd' is neither a file nor a folder"),
        (info("d", type=tarfile.BLKTYPE), "member 'd' is neither a file nor a folder"),
        (info("f", type=tarfile.FIFOTYPE), "member 'f' is neither a file nor a folder"),
        (info("v", type=b"V"), "member 'v' is neither a file nor a folder"),
        (info("s", type=tarfile.GNUTYPE_SPARSE), "member 's' is a sparse file"),
        (
            info("s", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "9"}),
            "member 's' is a sparse file",
        ),
        (info("/etc/x"), "member '/etc/x' has a name that is not a path inside"),
        (info("a/../../x"), "member 'a/../../x' has a name that is not a path inside"),
        (info(".."), "member '..' has a name that is not a path inside"),
        (info("../x", type=tarfile.DIRTYPE), "member '../x' has a name that is not a path inside"),
        (info("."), "member '.' has a name that is not a path inside"),
        (info(""), "member '' has a name that is not a path inside"),
        (
            info("a", pax_headers={"path": "a\0b"}),
            r"member 'a\\x00b' has a name that is not UTF-8 text",
        ),
        (info("a\udcff"), r"member 'a\\udcff' has a name that is not UTF-8 text"),
        (info("a.txt"), "member 'a.txt' comes twice"),
        (info("./a.txt"), "member './a.txt' comes twice"),
    ],
)
def test_members_that_are_no_plain_files_inside_are_refused(
    tmp_path: Path, member: tarfile.TarInfo, says: str
) -> None:
    form = tarfile.GNU_FORMAT if "\udcff" in member.name else tarfile.PAX_FORMAT
    path = pack(tmp_path / "x.tar", (info("a.txt", 3), b"one"), (member, b""), form=form)
    with pytest.raises(InvalidError, match=rf"x\.tar: {says}.*\. Repack"):
        open_tar(path)


def test_more_and_larger_members_than_allowed_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar")
    assert len(open_tar(path, most_members=5, largest_member=1280).names) == 5
    with pytest.raises(InvalidError, match=r"member 'ä/ü.txt' is one more than the 4 members"):
        open_tar(path, most_members=4)
    with pytest.raises(InvalidError, match=r"member 'b/c.jpg' has 1,280 bytes and may have 1,279"):
        open_tar(path, largest_member=1279)


def test_an_archive_cut_anywhere_before_its_end_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar", {"a": b"1" * 600, "b": b"2" * 600}, form=tarfile.USTAR_FORMAT)
    whole = path.read_bytes()  # each file: a header of 512 bytes and two blocks
    for size in range(1, 3072):
        path.write_bytes(whole[:size])
        if size == 1536:  # between two files nothing tells that more should come
            assert open_tar(path).names == ["a"]
            continue
        with pytest.raises(
            InvalidError, match=r"x\.tar: (not a whole tar archive|member '[ab]' is cut off)"
        ):
            open_tar(path)


def test_an_end_without_its_marker_is_an_end_and_an_empty_archive_is_one(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar", {"a": b"1"})
    path.write_bytes(path.read_bytes()[:1024])
    assert contents(open_tar(path)) == {"a": b"1"}
    assert open_tar(packed(path, {})).names == []


@pytest.mark.parametrize("at", [0, 1536])
def test_a_bad_header_is_refused_and_not_taken_for_the_end(tmp_path: Path, at: int) -> None:
    path = packed(
        tmp_path / "x.tar", {"a": b"1" * 600, "b": b"2", "c": b"3"}, form=tarfile.USTAR_FORMAT
    )
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        InvalidError,
        match=r"not a whole tar archive, broken.*(bad checksum|a bad header at byte 1,536)",
    ):
        open_tar(path)


def test_two_archives_joined_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(InvalidError, match="more data behind the end of the archive"):
        open_tar(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"not a tar", b"x" * 4096, gzip.compress(b"hello", mtime=0), b"BZh9" + bytes(2000)],
)
def test_what_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(InvalidError, match=r"x\.tar: not a whole tar archive"):
        open_tar(tmp_path / "x.tar")


def with_size(kind: bytes, size: bytes) -> bytes:
    """A header with a size as given, and a checksum that fits."""
    header = bytearray(info("x", type=kind).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME]
)
@pytest.mark.parametrize(
    "size", [b"\xff" * 10 + b"\xfc\x00", b"\x80" + b"\x7f" * 11, b"77777777777\0"]
)
def test_sizes_that_cannot_be_end_in_a_refusal(tmp_path: Path, kind: bytes, size: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(with_size(kind, size) + info("y").tobuf() + bytes(1024))
    with pytest.raises(InvalidError, match=r"x\.tar"):
        open_tar(path)


def test_a_global_header_that_changes_sizes_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", pax_headers={"size": "2"}) as tar:
        tar.addfile(info("a", 600), io.BytesIO(b"1" * 600))
    with pytest.raises(InvalidError, match="member 'a' has headers that disagree about its size"):
        open_tar(tmp_path / "x.tar")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 8191), value=st.integers(0, 255))
def test_a_changed_byte_ends_in_a_refusal_or_in_whole_files(
    tmp_path: Path, at: int, value: int
) -> None:
    path = packed(
        tmp_path / "x.tar",
        {"a" * 120: b"1" * 600, "b": b"2", "c" * 200: b"3" * 700},
        form=tarfile.PAX_FORMAT,
    )
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data)
    try:
        sizes = [len(data) for data in contents(open_tar(path)).values()]
    except InvalidError as error:
        assert "x.tar" in str(error)
    else:
        assert sizes == [600, 1, 700]


def test_absent_files_and_folders_and_pipes_are_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, says in [
        (tmp_path / "no.tar", "No such file"),
        (tmp_path, "not a file"),
        (tmp_path / "pipe", "not a file"),
    ]:
        with pytest.raises(MissingError, match=says):
            open_tar(path)


def test_a_file_that_shrinks_while_it_is_read_and_an_unknown_name_are_refused(
    tmp_path: Path,
) -> None:
    path = packed(tmp_path / "x.tar", {"a": b"1" * 600})
    archive = open_tar(path)
    with pytest.raises(InvalidError, match=r"x\.tar: no file 'b' in the archive"):
        archive.read("b")
    os.truncate(path, 700)
    with pytest.raises(InvalidError, match=r"x\.tar, 'a': 188 of 600 bytes are left of it"):
        archive.read("a")
