"""Frames from files: order, colours, stamps, and error messages."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.edited_video import (
    damaged,
    turned,
    with_durations,
    with_pixel_aspect,
    write_video,
)
from stdformer_ros.io.files import VideoError
from stdformer_ros.io.video import (
    PICTURES_FPS,
    count_frames,
    mean_rate,
    read_camera,
    read_video,
    usual_rate,
)

FRAMES = 12
FPS = 20.0


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Frame k is k * 20 bright, with red only in its left half."""
    path = tmp_path_factory.mktemp("video") / "ramp.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    assert writer.isOpened()
    for k in range(FRAMES):
        image = np.full((48, 64, 3), 20 * k, np.uint8)
        image[:, :32] = (0, 0, 255)
        writer.write(image)
    writer.release()
    return path


def test_every_frame_in_order_with_its_time(video):
    frames = list(read_video(video))
    assert len(frames) == FRAMES
    np.testing.assert_allclose([f.stamp for f in frames], np.arange(FRAMES) / FPS, atol=1e-3)
    brightness = [f.image[:, 40:].mean() for f in frames]
    np.testing.assert_allclose(brightness, 20 * np.arange(FRAMES), atol=3)


def test_images_are_rgb_with_an_assumed_camera(video):
    frame = next(read_video(video))
    assert frame.image.shape == (48, 64, 3)
    assert frame.image.dtype == np.uint8
    np.testing.assert_allclose(frame.image[24, 10], [255, 0, 0], atol=6)
    assert (frame.camera.width, frame.camera.height, frame.camera.known) == (64, 48, False)


def test_the_usual_frame_rate_is_that_of_most_steps_and_the_mean_counts_pauses():
    assert usual_rate([0.0, 0.1, 0.2, 0.7, 0.8]) == pytest.approx(10.0)
    assert usual_rate([5.0, 5.1, 5.2, 1.0, 1.1]) == pytest.approx(10.0)
    assert mean_rate([0.0, 0.1, 0.2, 0.7, 0.8]) == pytest.approx(5.0)


@pytest.mark.parametrize("stamps", [[], [1.0], [1.0, 1.0, 1.0]])
def test_stamps_that_do_not_tell_the_frame_rate_give_thirty(stamps):
    assert usual_rate(stamps) == mean_rate(stamps) == PICTURES_FPS


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"no video file or folder.*nowhere\.mp4"):
        read_video(tmp_path / "nowhere.mp4")
    with pytest.raises(VideoError, match="no images in"):
        read_video(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_a_file_that_is_no_video_is_refused_at_once(tmp_path, content):
    path: Path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=rf"broken\.mp4 cannot be decoded.*{len(content)} bytes"):
        read_video(path)


def test_a_bag_is_no_video_and_what_reads_it_is_said(tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"")
    for path in (tmp_path, tmp_path / "a.mcap"):
        with pytest.raises(VideoError, match="is a bag, not a video: `cli run` reads it"):
            read_video(path)


def read(path):
    warnings = []
    return list(read_video(path, warn=warnings.append)), warnings


def test_frames_per_second_are_not_for_videos(video):
    with pytest.raises(VideoError, match="stamps of its own"):
        read_video(video, fps=10.0)


def test_a_whole_video_gives_no_warning(video, tmp_path):
    for path in (video, write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mkv")):
        assert read(path)[1] == []


def test_behind_a_damaged_stretch_reading_goes_on(tmp_path):
    frames, warnings = read(damaged(write_video(tmp_path / "a.mp4"), 0.25, 0.5))
    stamps = np.array([frame.stamp for frame in frames])
    assert 30 < len(frames) < 60
    assert stamps[-1] == pytest.approx(59 / 30, abs=0.02)  # as if nothing had been damaged
    assert warnings == [
        f"{tmp_path / 'a.mp4'}: {60 - len(frames)} of 60 frames could not be decoded; the file is "
        "damaged or cut off"
    ]


def test_a_damaged_beginning_is_passed_over(tmp_path):
    frames, warnings = read(damaged(write_video(tmp_path / "a.mp4"), 0.01, 0.2))
    assert 30 < len(frames) < 60
    assert f"{60 - len(frames)} of 60 frames" in warnings[0]


@pytest.mark.parametrize(
    ("name", "fourcc"), [("a.avi", "MJPG"), ("a.avi", "XVID"), ("a.mkv", "mp4v")]
)
@pytest.mark.parametrize("what", ["damaged", "cut"])
def test_frames_that_are_missing_are_counted(tmp_path, name, fourcc, what):
    path = write_video(tmp_path / name, fourcc=fourcc)
    if what == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    else:
        damaged(path, 0.25, 0.5)
    frames, warnings = read(path)
    assert 20 < len(frames) < 60
    assert [f"{60 - len(frames)} of 60 frames" in warning for warning in warnings] == [True]


def test_an_mp4_whose_end_is_missing_is_named(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be decoded .*cut off"):
        read_video(path)


def test_a_variable_frame_rate_keeps_its_times_and_nothing_is_missing(tmp_path):
    durations = [20] * 20 + [500] + [33] * 19
    path = with_durations(write_video(tmp_path / "a.mp4", frames=40), durations)
    frames, warnings = read(path)
    expected = np.concatenate([[0], np.cumsum(durations[:-1])]) / 1000
    np.testing.assert_allclose([frame.stamp for frame in frames], expected, atol=2e-3)
    assert warnings == []
    assert count_frames(path) == 40


@pytest.mark.parametrize(
    ("degrees", "size"), [(0, (426, 240)), (90, (240, 426)), (180, (426, 240))]
)
def test_frames_have_square_pixels_and_are_upright(tmp_path, degrees, size):
    path = turned(with_pixel_aspect(write_video(tmp_path / "a.mp4"), 4, 3), degrees)
    frame = next(read_video(path))
    height, width = frame.image.shape[:2]
    assert (width, height) == pytest.approx(size, abs=1)
    assert (frame.camera.width, frame.camera.height) == (width, height)


def test_pixels_that_are_high_make_a_higher_image(tmp_path):
    path = with_pixel_aspect(write_video(tmp_path / "a.mp4"), 1, 2)
    assert next(read_video(path)).image.shape == (480, 320, 3)


def test_an_absent_webcam_says_what_to_check():
    with pytest.raises(VideoError, match=r"camera 63 .*group video"):
        read_camera(63)
