"""The reference of an evaluation by views: a laboratory's file, and the low-pass filter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.calibrated_views import RATE, evaluate, record, walker
from stdformer_ros.evaluation.views.recording import JOINTS
from stdformer_ros.evaluation.views.reference import low_pass, read_trc


def write_trc(path, points, unit="m"):
    short = [("L" if n.startswith("left") else "R") + n.partition("_")[2].title() for n in JOINTS]
    names = ["Nose", *short]
    scale = 1.0 if unit == "m" else 1e3
    lines = [
        "PathFileType\t4\t(X/Y/Z)\twalk.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits",
        f"60\t60\t{len(points)}\t{len(names)}\t{unit}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{a}{i + 1}" for i in range(len(names)) for a in "XYZ"),
    ]
    for frame, row in enumerate(points):
        cells = ["", "", ""] + [f"{x * scale:.9f}" for x in row.ravel()]
        lines.append("\t".join([str(frame + 1), f"{frame / 60:.6f}", *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_a_trc_file_is_the_reference_whatever_its_axes(tmp_path, unit):
    points = walker()
    turn = Rotation.from_euler("xyz", [0.4, -1.0, 2.0]).as_matrix()
    file = write_trc(tmp_path / "walk.trc", points @ turn.T + [3.0, -1.0, 2.0], unit)
    np.testing.assert_allclose(read_trc(file), points @ turn.T + [3.0, -1.0, 2.0], atol=1e-6)
    result = evaluate(record(points), trc=file)
    assert result["compares"] == "joints"
    assert "landmarks" not in result["overall"], "landmarks are not joints"
    assert result["overall"]["joints"]["mpjpe_mm"] < 1.0


def test_a_trc_file_of_another_length_or_without_a_joint_is_refused(tmp_path):
    short = write_trc(tmp_path / "short.trc", walker()[:30])
    with pytest.raises(ValueError, match="30 frames, the videos have 60"):
        evaluate(record(walker()), trc=short)
    short.write_text(short.read_text().replace("LKnee", "LPatella"))
    with pytest.raises(ValueError, match="lacks left_knee"):
        read_trc(short)
    short.write_text("something else")
    with pytest.raises(ValueError, match=r"not a \.trc file"):
        read_trc(short)


def test_the_low_pass_removes_fast_noise_and_adds_no_lag():
    time = np.arange(240) / RATE
    slow, fast = np.sin(2 * np.pi * 1.0 * time), 0.1 * np.sin(2 * np.pi * 25.0 * time)
    points = np.stack([slow + fast, slow, fast], axis=1)[:, None]
    points[100] = np.nan
    smooth = low_pass(points, RATE, 6.0)
    assert np.isnan(smooth[100]).all()
    inner = np.r_[30:95, 106:210]
    assert np.abs(smooth[inner, 0, 0] - slow[inner]).max() < 0.01
    assert np.abs(smooth[inner, 0, 2]).max() < 0.01
