"""Frames from files: order, colours, stamps, and error messages."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from stdformer_ros.io.video import FOLDER_FPS, VideoError, frame_rate, read_camera, read_video

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


def test_a_folder_of_images_is_read_by_name(tmp_path):
    for name, value in [("b.png", 20), ("a.jpg", 10), ("c.PNG", 30)]:
        cv2.imwrite(str(tmp_path / name), np.full((8, 10, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    frames = list(read_video(tmp_path))
    assert [int(f.image[0, 0, 0]) for f in frames] == [10, 20, 30]
    np.testing.assert_allclose([f.stamp for f in frames], np.arange(3) / FOLDER_FPS)


def test_images_of_a_folder_may_differ_in_size(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 10, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((20, 6), np.uint8))  # grey becomes RGB
    assert [f.image.shape for f in read_video(str(tmp_path))] == [(8, 10, 3), (20, 6, 3)]
    assert [f.camera.height for f in read_video(tmp_path)] == [8, 20]


def test_the_frame_rate_is_that_of_most_steps():
    assert frame_rate([0.0, 0.1, 0.2, 0.7, 0.8]) == pytest.approx(10.0)
    assert frame_rate([5.0, 5.1, 5.2, 1.0, 1.1]) == pytest.approx(10.0)


@pytest.mark.parametrize("stamps", [[], [1.0], [1.0, 1.0, 1.0]])
def test_stamps_that_do_not_tell_the_frame_rate_give_thirty(stamps):
    assert frame_rate(stamps) == FOLDER_FPS


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


def test_a_truncated_video_gives_the_frames_that_are_there(tmp_path, video):
    path = tmp_path / "part.avi"
    path.write_bytes(video.read_bytes()[: video.stat().st_size * 4 // 5])
    frames = list(read_video(path))
    assert 1 <= len(frames) < FRAMES


def test_a_damaged_image_of_a_folder_is_named_when_it_is_reached(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 10, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"nothing")
    frames = read_video(tmp_path)
    next(frames)
    with pytest.raises(VideoError, match=r"b\.png cannot be decoded"):
        next(frames)


def test_an_absent_webcam_says_what_to_check():
    with pytest.raises(VideoError, match=r"camera 63 .*group video"):
        read_camera(63)
