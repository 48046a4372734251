"""Names of files: what OpenCV opens, what is printed, what is no file."""

import os
from pathlib import Path

import pytest

from stdformer_ros.io.files import VideoError, is_bag, openable, require_recording, shown


@pytest.mark.parametrize("name", [b"plain.mp4", b"12:30.mp4", b"bad\xff.mp4", b"\xffdir/a.m\xfe4"])
def test_an_openable_name_is_utf8_absolute_and_the_same_file(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"content")
    with openable(path) as opened:
        opened.encode()
        assert os.path.isabs(opened)
        assert Path(opened).read_bytes() == b"content"
    assert path.read_bytes() == b"content"


def test_a_file_can_be_written_under_an_openable_name(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"new\xff.mp4")
    with openable(path) as opened:
        Path(opened).write_bytes(b"written")
    assert path.read_bytes() == b"written"


def test_a_shown_name_is_one_printable_line() -> None:
    assert shown(Path("/tmp/ü 1.mp4")) == "/tmp/ü 1.mp4"
    assert shown(os.fsdecode(b"a\xffb\nc\x1b[31m")) == "a\\xffb\\nc\\x1b[31m"


@pytest.mark.parametrize(
    ("names", "bag"),
    [
        (["metadata.yaml", "a.db3"], True),
        (["a_0.mcap", "a_1.mcap"], True),
        (["A.BAG"], True),
        (["a.db3.zstd"], True),
        (["a.bag.active"], True),
        (["a.png", "mcap.png", "a.bag.png", "bag"], False),
        ([], False),
    ],
)
def test_a_bag_is_known_by_its_files(tmp_path: Path, names: list[str], bag: bool) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert is_bag(tmp_path) == bag
    assert all(is_bag(tmp_path / name) == bag for name in names)
    assert not is_bag(tmp_path / "missing.bag")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rtsp://10.0.0.5/stream", "address of a stream.*ffmpeg"),
        ("https://example.org/a.mp4", "address of a stream"),
        ("0", "--camera 0"),
        ("/dev/null", "is a camera"),
        ("nowhere.mp4", "there is no video file or folder of images at .*/nowhere.mp4"),
    ],
)
def test_what_is_no_file_is_refused_with_what_to_do(name: str, said: str) -> None:
    with pytest.raises(VideoError, match=said):
        require_recording(Path(name))


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    link = tmp_path / "a.mp4"
    link.symlink_to(tmp_path / "nowhere.mp4")
    with pytest.raises(VideoError, match="a link to a file that does not exist"):
        require_recording(link)


def test_a_file_whose_name_looks_like_an_address_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clip:").mkdir()
    Path("clip:/a.mp4").write_bytes(b"")
    require_recording(Path("clip:/a.mp4"))
