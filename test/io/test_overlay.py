"""Drawing: near bodies hide far ones, faces that look away are left out, pixels fit the camera."""

import numpy as np
import pytest

from helpers.fake_pipeline import BOX, BOX_FACES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.io.overlay import Figure, draw_overlay, draw_side_view, project, track_color

CAMERA = Camera(160, 120, fx=100, fy=100, cx=80, cy=60)
GREEN = np.full((120, 160, 3), (0, 120, 0), np.uint8)
NO_JOINTS = np.zeros((0, 3), np.float32)


def box(track_id, place, size=1.0):
    """A box, 0.4 m wide, 1.7 m high, 0.2 m deep, `place` metres from the camera."""
    vertices = size * BOX + np.array(place, np.float32)
    return Figure(track_id, NO_JOINTS, vertices)


def mask(picture):
    return (picture != GREEN).any(axis=2)


def colour_at(picture, point, camera=CAMERA):
    x, y = project(np.array([point], np.float32), camera)[0].round().astype(int)
    return picture[y, x].astype(float)


def hue(colour):
    return colour / np.linalg.norm(colour)


def test_points_are_projected_as_the_camera_projects_them():
    points = np.array([[0, 0, 2], [1, 0, 2], [0, -1, 4]], np.float32)
    np.testing.assert_allclose(project(points, CAMERA), [[80, 60], [130, 60], [80, 35]])


def test_a_box_covers_exactly_its_projection():
    figure = box(0, (0.1, 0, 4))
    picture = draw_overlay(GREEN, [figure], CAMERA, BOX_FACES, [], opacity=1.0)
    corners = project(figure.vertices, CAMERA)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    rows, columns = np.nonzero(mask(picture)[int(top) + 5 :])  # the label stands above
    assert abs(columns.min() - left) <= 1.5
    assert abs(columns.max() - right) <= 1.5
    assert abs(rows.max() + int(top) + 5 - bottom) <= 1.5


@pytest.mark.parametrize("near_first", [False, True])
def test_the_nearer_body_hides_the_farther_one_in_any_order(near_first):
    near, far = box(1, (0, 0, 3)), box(2, (0, 0, 6), size=2.0)
    figures = [near, far] if near_first else [far, near]
    picture = draw_overlay(GREEN, figures, CAMERA, BOX_FACES, [], opacity=1.0)
    np.testing.assert_allclose(
        hue(colour_at(picture, (0.02, 0.2, 3))), hue(np.array(track_color(1))), atol=0.05
    )


def test_faces_that_look_away_are_not_drawn():
    corners = np.array([[-0.5, -0.5, 2], [0.5, 0.5, 2], [-0.5, 0.5, 2]], np.float32)
    towards, away = np.array([[0, 2, 1]], np.int32), np.array([[0, 1, 2]], np.int32)
    figure = Figure(0, NO_JOINTS, corners)
    below = slice(70, None)  # below the label
    assert mask(draw_overlay(GREEN, [figure], CAMERA, towards, []))[below].any()
    assert not mask(draw_overlay(GREEN, [figure], CAMERA, away, []))[below].any()


def test_opacity_lets_the_image_through():
    figure = box(0, (0, 0, 3))
    opaque = colour_at(draw_overlay(GREEN, [figure], CAMERA, BOX_FACES, [], 1.0), (0, 0.5, 3))
    half = colour_at(draw_overlay(GREEN, [figure], CAMERA, BOX_FACES, [], 0.5), (0, 0.5, 3))
    np.testing.assert_allclose(half, 0.5 * opaque + 0.5 * np.array([0, 120, 0]), atol=1.5)


def test_bones_and_joints_are_where_the_camera_sees_them():
    joints = np.array([[-0.5, 0, 2], [0.5, 0, 2]], np.float32)
    picture = draw_overlay(GREEN, [Figure(0, joints, None)], CAMERA, None, [(0, 1)])
    assert (picture[60, 60:100] > 200).all(axis=1).mean() > 0.9  # a white line between them
    assert not mask(picture)[66:].any()
    assert not mask(picture)[:, 112:].any()


def test_the_image_itself_is_not_changed():
    before = GREEN.copy()
    draw_overlay(GREEN, [box(0, (0, 0, 3))], CAMERA, BOX_FACES, [])
    np.testing.assert_array_equal(GREEN, before)


def test_a_body_around_or_behind_the_camera_can_be_drawn_too():
    for place in ((0, 0, 0), (0, 0, -3), (0, 0, 0.11), (1e6, 0, 2)):
        vertices = box(0, place).vertices
        draw_overlay(GREEN, [Figure(0, vertices, vertices)], CAMERA, BOX_FACES, [(0, 7)])
    behind = draw_overlay(GREEN, [Figure(0, NO_JOINTS, BOX - [0, 0, 3])], CAMERA, BOX_FACES, [])
    assert not mask(behind)[20:].any()


def test_without_people_the_image_stays_as_it_is():
    np.testing.assert_array_equal(draw_overlay(GREEN, [], CAMERA, BOX_FACES, []), GREEN)


def test_from_the_side_width_becomes_depth():
    wide = np.float32([1, 1, 1]) * BOX  # 0.4 wide, 1.7 high, 0.2 deep
    figure = Figure(0, NO_JOINTS, wide + np.float32([3, 1, 9]))
    picture = draw_side_view([figure], BOX_FACES, [], (400, 400))
    inside = (picture != 245).any(axis=2)
    inside[:60] = False  # the label
    rows, columns = np.nonzero(inside)
    ratio = (columns.max() - columns.min()) / (0.9 * 400)
    assert ratio == pytest.approx(0.2 / 1.7, rel=0.15)
    assert rows.max() < 400


def test_from_the_side_each_person_has_a_column():
    picture = draw_side_view([box(1, (0, 0, 3)), box(2, (1, 0, 5))], BOX_FACES, [], (200, 100))
    for column, track_id in ((50, 1), (150, 2)):
        np.testing.assert_allclose(
            hue(picture[70, column].astype(float)), hue(np.array(track_color(track_id))), atol=0.05
        )
