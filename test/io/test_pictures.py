"""Overlay videos and snapshots."""

import cv2
import numpy as np
import pytest

from helpers.fake_pipeline import BOX, BOX_FACES, make_human
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.overlay import Figure
from stdformer_ros.io.pictures import (
    LONGEST_PAUSE,
    WIDEST,
    OverlayVideo,
    VideoWriter,
    snapshot,
    write_png,
)
from stdformer_ros.types import Answer, Frame


def frame(brightness, stamp=0.0, width=160, height=120):
    image = np.full((height, width, 3), brightness, np.uint8)
    return Frame(image, stamp, Camera.assumed(width, height))


def write(path, frames):
    with OverlayVideo(path, BOX_FACES, []) as video:
        for shown, figures in frames:
            video.show(shown, figures)


def person(x=0.0):
    vertices = (BOX + np.array([x, 0, 3])).astype(np.float32)
    return Figure(3, vertices, vertices)


def read(path):
    capture = cv2.VideoCapture(str(path))
    images = []
    while True:
        decoded, image = capture.read()
        if not decoded:
            return images, capture.get(cv2.CAP_PROP_FPS)
        images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def test_the_video_has_every_frame_at_its_rate(tmp_path):
    for count in (3, 10):  # fewer and more than those that tell the rate
        write(tmp_path / "o.mp4", [(frame(20 * i, i / 25), []) for i in range(count)])
        images, fps = read(tmp_path / "o.mp4")
        assert fps == pytest.approx(25.0)
        means = [image.mean() for image in images]
        np.testing.assert_allclose(means, np.arange(count) * 20, atol=4)


def test_a_pause_between_frames_lasts_as_long_in_the_video(tmp_path):
    stamps = [0.0, 0.04, 0.08, 0.12, 1.12, 1.16, 1.17, 1.18, 1.22, 1.26]
    write(tmp_path / "o.mp4", [(frame(20 * i, stamp), []) for i, stamp in enumerate(stamps)])
    images, fps = read(tmp_path / "o.mp4")
    assert fps == pytest.approx(25.0)
    assert len(images) == pytest.approx(25 * 1.26 + 1, abs=1)
    means = [image.mean() for image in images]
    np.testing.assert_allclose(means[3:28], 60, atol=4)
    np.testing.assert_allclose(means[28:30], [80, 100], atol=4)


@pytest.mark.parametrize("jump", [-5.0, 3e9])
def test_a_clock_that_jumps_does_not_fill_the_video(tmp_path, jump):
    stamps = [*np.arange(10) / 25, *(jump + np.arange(10) / 25)]
    write(tmp_path / "o.mp4", [(frame(100, stamp), []) for stamp in stamps])
    images, _ = read(tmp_path / "o.mp4")
    assert 20 <= len(images) <= 20 + 25 * LONGEST_PAUSE


def test_pictures_of_another_shape_get_borders(tmp_path):
    shapes = [(160, 120), (120, 160)]
    write(tmp_path / "o.mp4", [(frame(200, i, *shape), []) for i, shape in enumerate(shapes)])
    (first, *_, second), _ = read(tmp_path / "o.mp4")
    assert first.min() > 180
    assert second[:, 40:120].mean() > 190
    assert second[:, :30].mean() < 10
    assert second[:, 130:].mean() < 10


def test_without_frames_there_is_no_video(tmp_path):
    write(tmp_path / "o.mp4", [])
    assert not (tmp_path / "o.mp4").exists()


def test_an_answer_is_drawn_over_its_frame(tmp_path):
    with OverlayVideo(tmp_path / "o.mp4", BOX_FACES, []) as video:
        for i in range(3):
            people = [make_human(0)] if i == 1 else []
            video.add(Answer(frame(100, i / 30), people))
    (first, second, _), _ = read(tmp_path / "o.mp4")
    assert np.abs(first.astype(int) - 100).max() < 6
    assert np.abs(second.astype(int) - 100).max() > 30


def test_a_frame_that_was_not_processed_shows_the_last_one_that_was(tmp_path):
    frames = [(frame(0), None), (frame(100), [person()]), (frame(200), None)]
    write(tmp_path / "o.mp4", frames)
    (first, second, third), _ = read(tmp_path / "o.mp4")
    assert first.mean() < 5
    assert np.abs(third.astype(int) - second).mean() < 4
    assert np.median(third) == pytest.approx(100, abs=5)
    assert np.abs(second[60, 80].astype(int) - 100).max() > 30  # the person


def test_large_videos_are_scaled_to_even_sides(tmp_path):
    writer = VideoWriter(tmp_path / "o.mp4", 30.0, (1768, 995))
    writer.write(np.full((995, 1768, 3), (200, 30, 30), np.uint8))
    writer.close()
    (image,), _ = read(tmp_path / "o.mp4")
    assert image.shape[1] == WIDEST
    assert image.shape[0] == 720
    assert np.abs(image.mean(axis=(0, 1)) - (200, 30, 30)).max() < 12  # red stays red


def test_a_video_that_cannot_be_written_says_where(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        VideoWriter(tmp_path / "nowhere" / "o.mp4", 30.0, (64, 48))


def test_the_snapshot_shows_the_person_in_the_image_and_from_the_side(tmp_path):
    picture = snapshot(frame(100), [person()], BOX_FACES, [])
    assert picture.shape == (120, 160 + 96, 3)
    left, right = picture[:, :160], picture[:, 160:]
    assert 0.02 < (left != 100).any(axis=2).mean() < 0.9
    assert 0.02 < (right != 245).any(axis=2).mean() < 0.9
    write_png(tmp_path / "s.png", picture)
    written = cv2.cvtColor(cv2.imread(str(tmp_path / "s.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(written, picture)
