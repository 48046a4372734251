"""Calibrated cameras: read from files, and robust triangulation."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.calibrated_views import CAMERAS, walker, write_toml
from stdformer_ros.evaluation.views.cameras import read_calibration, triangulate


def test_a_toml_calibration_gives_the_cameras_that_were_written(tmp_path):
    found = read_calibration(write_toml(tmp_path / "Calib.toml"))
    assert [c.name for c in found] == ["cam0", "cam1", "cam2", "cam3"]
    points = walker()[0]
    for cam, same in zip(CAMERAS, found, strict=True):
        np.testing.assert_allclose(same.project(points), cam.project(points), atol=1e-6)
        np.testing.assert_allclose(
            same.rays(cam.project(points)),
            cam.in_camera(points)[:, :2] / cam.in_camera(points)[:, 2:],
            atol=1e-6,
        )


def test_a_qualisys_calibration_looks_along_minus_z_in_millimetres(tmp_path):
    text = '<?xml version="1.0"?><calibration><cameras>'
    for cam in CAMERAS:
        turn = np.diag([1.0, -1.0, -1.0]) @ cam.rotation
        place = -cam.rotation.T @ cam.translation * 1e3
        entries = " ".join(f'r{i + 1}{k + 1}="{turn[i, k]}"' for i in range(3) for k in range(3))
        k1, k2, p1, p2 = cam.distortion
        (fx, _, cx), (_, fy, cy), _ = cam.matrix * 64
        text += (
            f'<camera serial="{cam.name}"><fov_video left="0" top="0" right="1079" bottom="1919"/>'
            f'<transform {entries} x="{place[0]}" y="{place[1]}" z="{place[2]}"/>'
            f'<intrinsic focalLengthU="{fx}" focalLengthV="{fy}" centerPointU="{cx}" '
            f'centerPointV="{cy}" radialDistortion1="{k1}" radialDistortion2="{k2}" '
            f'tangentalDistortion1="{p1}" tangentalDistortion2="{p2}"/></camera>'
        )
    file = tmp_path / "Calib.qca.txt"
    file.write_text(text + "</cameras></calibration>")
    found = read_calibration(file)
    assert found[0].size == (1080, 1920)
    for cam, same in zip(CAMERAS, found, strict=True):
        np.testing.assert_allclose(same.project(walker()[0]), cam.project(walker()[0]), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "[cam\n", "is not valid TOML"),
        ("a.toml", "[cam]\nsize = [1, 2]\n", "rotation"),
        ("a.toml", "[metadata]\nerror = 0.0\n", "0 cameras"),
        ("a.txt", "not xml", "neither .toml nor"),
        ("a.txt", "<c><camera serial='1'/></c>", "fov_video"),
    ],
)
def test_a_wrong_calibration_file_is_reported_with_the_reason(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_calibration(tmp_path / name)


# --- triangulation


def test_points_are_triangulated_correctly_although_one_view_is_wrong():
    points = walker()[:5]
    pixels = np.stack([cam.project(points) for cam in CAMERAS])
    weights = np.ones(pixels.shape[:-1])
    exact, distance = triangulate(CAMERAS, pixels, weights)
    np.testing.assert_allclose(exact, points, atol=1e-6)
    assert distance.max() < 1e-3

    pixels[2, :, 3] += 200.0  # this view marks another place for one of the points
    found, distance = triangulate(CAMERAS, pixels, weights)
    assert np.abs(found - points).max() < 2e-3
    assert np.median(distance[2, :, 3]) == pytest.approx(200 * 2**0.5, rel=0.01)


def test_a_point_in_fewer_than_two_views_is_unknown():
    points = walker()[:1]
    pixels = np.stack([cam.project(points) for cam in CAMERAS])
    weights = np.ones(pixels.shape[:-1])
    weights[1:, 0, 4] = 0
    found, _ = triangulate(CAMERAS, pixels, weights)
    assert np.isnan(found[0, 4]).all()
    assert np.isfinite(np.delete(found, 4, axis=1)).all()
