"""Files that parameters may name: neither `..` nor a link leads out of the allowed folders."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdformer_ros.config import outside, split_folders


@pytest.fixture
def place(tmp_path):
    """weights/ may be named, secrets/ and weights_of_others/ not."""
    for name in ("weights/deep", "secrets", "weights_of_others"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("name", ["net.bin", "deep/net.bin", "deep/../net.bin", "./deep//net.bin"])
def test_files_inside_the_folder_may_be_named(place, name):
    assert outside(f"{place}/weights/{name}", [place / "weights"]) == ""


@pytest.mark.parametrize(
    "name",
    [
        "weights/../secrets/key",
        "weights/deep/../../secrets/key",
        "weights/deep/../../../../../../../../etc/passwd",
        "weights_of_others/net.bin",
        "secrets/key",
        ".",
    ],
)
def test_files_outside_the_folder_may_not_be_named(place, name):
    refusal = outside(f"{place}/{name}", [place / "weights"])
    assert "lies in none of" in refusal
    assert str(place / "weights") in refusal
    assert ".." not in refusal.split("which")[0], "says where it really is"


def test_links_are_followed_first(place):
    (place / "weights/way_out").symlink_to(place / "secrets")
    (place / "way_in").symlink_to(place / "weights")
    assert outside(f"{place}/weights/way_out/key", [place / "weights"])
    assert outside(f"{place}/weights/way_out/../weights/net.bin", [place / "weights"]) == ""
    assert outside(f"{place}/way_in/net.bin", [place / "weights"]) == ""
    assert outside(f"{place}/weights/net.bin", [place / "way_in"]) == ""


def test_relative_paths_are_relative_to_the_working_directory(place, monkeypatch):
    monkeypatch.chdir(place / "weights")
    assert outside("net.bin", [place / "weights"]) == ""
    assert outside("../secrets/key", [place / "weights"])


def test_one_of_several_folders_is_enough(place):
    folders = split_folders(f"{place}/weights::{place}/secrets:~/models")
    assert folders == [place / "weights", place / "secrets", Path.home() / "models"]
    assert outside(f"{place}/secrets/key", folders) == ""
    assert split_folders("") == []


def test_an_impossible_path_is_refused_with_a_reason(place):
    assert "cannot be followed" in outside("weights/\0/net.bin", [place / "weights"])


@given(st.lists(st.sampled_from(["..", ".", "", "a", "weights", "secrets"]), max_size=12))
def test_a_path_is_inside_as_long_as_it_never_leaves_the_folder(tmp_path_factory, parts):
    folder = tmp_path_factory.getbasetemp() / "chains/weights"
    (folder / "a/a").mkdir(parents=True, exist_ok=True)
    stack = ["weights"]
    for part in parts:
        if part == "..":
            stack = stack[:-1] or ["above"]
        elif part not in ("", "."):
            stack.append(part)
    refused = outside("/".join([str(folder), *parts]), [folder])
    if stack[0] == "weights":
        assert refused == ""
    elif "weights" not in stack:
        assert "lies in none of" in refused
