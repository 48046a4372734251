"""An asset is the file that was released, or opening it says what is wrong."""

import hashlib
from pathlib import Path

import pytest

from helpers.paths import ROOT
from stdformer_ros.assets import CHECKSUMS, FOLDER, AssetError, asset

LISTED = [line.split()[1] for line in (FOLDER / CHECKSUMS).read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    (tmp_path / CHECKSUMS).write_text(f"{digest}  a.bin\n{'0' * 64}  gone.bin\n")
    return tmp_path


@pytest.mark.parametrize("name", LISTED)
def test_every_listed_asset_is_there_and_intact(name):
    assert asset(name) == FOLDER / name


def test_notice_names_every_asset_with_its_sum():
    notice = (ROOT / "NOTICE").read_text()
    for line in (FOLDER / CHECKSUMS).read_text().splitlines():
        digest, name = line.split()
        assert f"{digest}  {name}" in notice, f"NOTICE lacks {name}, or has another sum"


def test_every_file_in_the_folder_is_listed():
    ours = {"__init__.py", CHECKSUMS}
    present = {p.name for p in FOLDER.iterdir() if p.is_file()} - ours
    assert present == set(LISTED)


def test_all_assets_together_stay_small():
    assert sum((FOLDER / name).stat().st_size for name in LISTED) <= 50e6
    assert (FOLDER / "nanodet_416.bin").stat().st_size <= 8e6


def test_an_intact_asset_is_found(folder):
    assert asset("a.bin", folder).read_bytes() == b"content"


def test_a_missing_asset_says_where_it_was_looked_for_and_how_to_get_it(folder):
    with pytest.raises(AssetError) as error:
        asset("gone.bin", folder)
    assert str(folder / "gone.bin") in str(error.value)
    assert "git checkout" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"conten", b"cOntent", b"content and more"])
def test_a_damaged_asset_is_refused(folder, content):
    (folder / "a.bin").write_bytes(content)
    with pytest.raises(AssetError, match=f"damaged.*{len(content)} bytes"):
        asset("a.bin", folder)


def test_an_asset_that_nobody_listed_is_refused(folder):
    (folder / "b.bin").write_bytes(b"content")
    with pytest.raises(AssetError, match="not listed"):
        asset("b.bin", folder)


def test_a_missing_or_damaged_list_is_named(folder):
    (folder / CHECKSUMS).write_text("nonsense\n")
    with pytest.raises(AssetError, match=CHECKSUMS):
        asset("a.bin", folder)


def test_without_a_list_nothing_is_trusted(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"content")
    with pytest.raises(AssetError, match=CHECKSUMS):
        asset("a.bin", tmp_path)
