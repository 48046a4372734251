"""Reading BVH: what is in the file is read, and what is wrong with it is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.handmade_motion import NAMES, bvh_text, lively, still
from stdformer_ros.training.people.bvh import read_bvh

TINY = """HIERARCHY
ROOT base
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT tip
  {
    OFFSET 1.5 -2 3e-1
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 0 4 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04
1 2 3 0 0 0 90 0 0
4 5 6 0 0 90 30 90 0
"""

in_a_shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clip.bvh"


def test_a_tiny_file_is_read(path: Path) -> None:
    path.write_text(TINY)
    motion = read_bvh(path)
    assert motion.names == ("base", "tip", "tip_end")
    assert motion.parents == (-1, 0, 1)
    assert motion.offsets.tolist() == [[0, 0, 0], [1.5, -2, 0.3], [0, 4, 0]]
    assert motion.root.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert motion.frame_time == 0.04
    np.testing.assert_allclose(motion.rotations[0, 0], np.eye(3))
    # 90 degrees about z turn x into y; 90 degrees about y turn z into x
    np.testing.assert_allclose(motion.rotations[0, 1] @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(motion.rotations[1, 0] @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_the_first_channel_is_the_outermost_rotation(path: Path) -> None:
    """Zrotation 30, Yrotation 90: z is turned into x by Y first, then by Z towards y."""
    path.write_text(TINY)
    turned = read_bvh(path).rotations[1, 1] @ [0, 0, 1]
    np.testing.assert_allclose(turned, [np.cos(np.pi / 6), 0.5, 0], atol=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 4), st.permutations("XYZ"))
@settings(in_a_shared_folder, max_examples=15)
def test_written_motion_is_read_back(path: Path, seed: int, frames: int, order: list[str]) -> None:
    written = lively(frames, seed)
    path.write_text(bvh_text(written, "".join(order)))
    read = read_bvh(path)
    assert set(read.names) == set(NAMES)
    place = [read.names.index(name) for name in NAMES]
    np.testing.assert_allclose(read.rotations[:, place], written.rotations, atol=1e-9)
    np.testing.assert_allclose(read.offsets[place], written.offsets)
    np.testing.assert_allclose(read.root, written.root)
    for joint, parent in enumerate(written.parents):
        above = read.parents[place[joint]]
        assert above == (place[parent] if parent >= 0 else -1)


def test_a_clip_without_frames_is_empty_and_not_an_error(path: Path) -> None:
    path.write_text(bvh_text(still(0)))
    assert read_bvh(path).rotations.shape == (0, len(NAMES), 3, 3)


def changed(old: str, new: str) -> str:
    assert old in TINY
    return TINY.replace(old, new)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "MOTION"),
        ("HIERARCHY", "MOTION"),
        (changed("Frames: 2", "Frames: 3"), "expected 3 frames of 9 numbers, found 18"),
        (changed("Frames: 2", "Frames: -2"), "expected -2 frames"),
        (changed(" 90 0 0\n", " nan 0 0\n"), "not finite"),
        (changed(" 90 0 0\n", " inf 0 0\n"), "not finite"),
        (changed(" 90 0 0\n", " abc 0 0\n"), "abc"),
        (changed("OFFSET 0 4 0", "OFFSET 0 nan 0"), "not finite"),
        (changed("OFFSET 0 4 0", ""), "tip_end has no OFFSET"),
        (changed("OFFSET 0 4 0", "OFFSET 0 4 0 OFFSET 0 4 0"), "OFFSET"),
        (changed("OFFSET 0 4 0", "OFFSET 0 4"), "}"),
        (changed("CHANNELS 3 Z", "CHANNELS -2 Z"), "CHANNELS -2"),
        (changed("CHANNELS 3 Z", "CHANNELS 4 Z"), "End"),
        (changed("Yrotation Xrotation", "Yrotation Wrotation"), "Wrotation"),
        (changed("Yrotation Xrotation", "Yrotation Yrotation"), "consecutive"),
        (changed("JOINT tip", "BONE tip"), "BONE"),
        (changed("  }\n}\n", "  }\n"), "not closed"),
        (changed("ROOT base\n{", "ROOT base"), "brackets"),
        (changed("Frame Time: 0.04", "Frame Time: 0"), "frame time"),
        (changed("Frame Time: 0.04", "Frame Time: nan"), "frame time"),
        ("HIERARCHY MOTION Frames: 1000000000000 Frame Time: 0.04", "no ROOT"),
        (changed("JOINT tip", "ROOT tip"), "ROOT"),
    ],
)
def test_a_broken_file_is_refused_with_its_path_and_the_reason(
    path: Path, text: str, reason: str
) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=r"clip\.bvh is not a complete BVH file") as error:
        read_bvh(path)
    assert reason in str(error.value)


@given(st.integers(0, len(TINY) - 3))
@in_a_shared_folder
def test_a_file_that_ends_early_is_refused(path: Path, length: int) -> None:
    path.write_text(TINY[:length])
    with pytest.raises(ValueError, match=r"clip\.bvh"):
        read_bvh(path)


@given(st.binary(max_size=400))
@in_a_shared_folder
def test_garbage_is_refused(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)
    with pytest.raises(ValueError, match=r"clip\.bvh"):
        read_bvh(path)


@given(st.lists(st.sampled_from(TINY.split()), max_size=60))
@in_a_shared_folder
def test_the_words_of_a_bvh_file_in_any_order_are_read_or_refused(
    path: Path, words: list[str]
) -> None:
    path.write_text("HIERARCHY ROOT base { " + " ".join(words))
    try:
        motion = read_bvh(path)
    except ValueError:
        return
    assert len(motion.offsets) == len(motion.names) == motion.rotations.shape[1]


def test_a_missing_file_is_a_file_not_found_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"clip\.bvh"):
        read_bvh(path)
