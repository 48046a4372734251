"""Calibrations of several cameras, read from files."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.calibrated_views import CAMERAS, walker, write_toml
from stdformer_ros.evaluation.views.cameras import read_calibration


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
        ("a.toml", "[cam\n", "is no TOML"),
        ("a.toml", "[cam]\nsize = [1, 2]\n", "rotation"),
        ("a.toml", "[metadata]\nerror = 0.0\n", "0 cameras"),
        ("a.txt", "not xml", "neither .toml nor"),
        ("a.txt", "<c><camera serial='1'/></c>", "fov_video"),
    ],
)
def test_a_calibration_that_is_none_is_named_with_what_is_wrong(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_calibration(tmp_path / name)
