"""Calibrated views of people: cameras read, points triangulated, known errors told."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from stdformer_ros.body.landmarks import LANDMARK_NAMES, BodyLandmarks
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.evaluation import views_command
from stdformer_ros.evaluation.calibrated_cameras import CalibratedCamera, read_calibration
from stdformer_ros.evaluation.command import add_parser
from stdformer_ros.evaluation.evaluate_views import evaluate_views
from stdformer_ros.evaluation.triangulation import low_pass, triangulate
from stdformer_ros.evaluation.view_people import people_in_views
from stdformer_ros.evaluation.view_recording import HIPS, JOINTS, Sight, ViewRecorder
from stdformer_ros.evaluation.view_reference import read_trc

FRAMES, RATE = 60, 60.0
ONE = np.ones(12)
REST = {
    "shoulder": (0.18, 0.0, 1.4),
    "elbow": (0.25, 0.05, 1.1),
    "wrist": (0.25, -0.1, 0.9),
    "hip": (0.1, 0.0, 0.95),
    "knee": (0.1, -0.1, 0.5),
    "ankle": (0.1, 0.05, 0.1),
}


def camera(name: str, heading: float, distance: float = 4.0) -> CalibratedCamera:
    """Looks at a point a metre above the origin, from 1.6 m."""
    place = np.array([distance * np.cos(heading), distance * np.sin(heading), 1.6])
    z = np.array([0.0, 0.0, 1.0]) - place
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z])
    return CalibratedCamera(
        name,
        (1080, 1920),
        np.array([[1600.0, 0, 540], [0, 1610, 950], [0, 0, 1]]),
        np.array([-0.05, 0.1, 0.001, -0.001]),
        rotation,
        -rotation @ place,
    )


CAMERAS = [camera(f"cam{i}", heading) for i, heading in enumerate((0.3, 1.8, 3.3, 5.0))]


def walker() -> np.ndarray:
    """(F, 12, 3) somebody who sways by 10 cm once a second, world, z up."""
    rest = np.array(
        [
            [x if side == "left" else -x, y, z]
            for name in JOINTS
            for side, _, part in [name.partition("_")]
            for x, y, z in [REST[part]]
        ]
    )
    sway = 0.1 * np.sin(2 * np.pi * np.arange(FRAMES) / RATE)
    return rest + np.stack([sway, 0.5 * sway, 0 * sway], axis=1)[:, None]


def record(points: np.ndarray, change=None) -> list[list[list[Sight]]]:
    """What perfect views of `points` show; `change` makes the answers of them, camera frame."""
    views = []
    for cam in CAMERAS:
        true, pixels = cam.in_camera(points), cam.project(points)
        answers = true if change is None else change(true)
        views.append(
            [
                [Sight(7, 800.0, pixels[f], ONE, answers[f], answers[f], true[f], 0.9 * ONE)]
                for f in range(len(points))
            ]
        )
    return views


def evaluate(recordings, **options):
    names = [f"{c.name}.mp4" for c in CAMERAS]
    return evaluate_views(names, CAMERAS, recordings, RATE, **options)


# Cameras -----------------------------------------------------------------------------------------


def write_toml(path, cameras=CAMERAS):
    text = ""
    for cam in cameras:
        turn = cv2.Rodrigues(cam.rotation)[0].ravel().tolist()
        text += (
            f'[{cam.name}]\nname = "{cam.name}"\nsize = [ {cam.size[0]}.0, {cam.size[1]}.0,]\n'
            f"matrix = {cam.matrix.tolist()}\ndistortions = {cam.distortion.tolist()}\n"
            f"rotation = {turn}\ntranslation = {cam.translation.tolist()}\nfisheye = false\n\n"
        )
    path.write_text(text + "[metadata]\nadjusted = false\nerror = 0.0\n")
    return path


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


# Triangulation -----------------------------------------------------------------------------------


def test_points_are_found_where_they_are_although_one_view_is_wrong():
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


def test_a_point_that_fewer_than_two_views_see_is_unknown():
    points = walker()[:1]
    pixels = np.stack([cam.project(points) for cam in CAMERAS])
    weights = np.ones(pixels.shape[:-1])
    weights[1:, 0, 4] = 0
    found, _ = triangulate(CAMERAS, pixels, weights)
    assert np.isnan(found[0, 4]).all()
    assert np.isfinite(np.delete(found, 4, axis=1)).all()


def test_the_low_pass_keeps_slow_motion_in_time_and_takes_fast_noise_away():
    time = np.arange(240) / RATE
    slow, fast = np.sin(2 * np.pi * 1.0 * time), 0.1 * np.sin(2 * np.pi * 25.0 * time)
    points = np.stack([slow + fast, slow, fast], axis=1)[:, None]
    points[100] = np.nan
    smooth = low_pass(points, RATE, 6.0)
    assert np.isnan(smooth[100]).all()
    inner = np.r_[30:95, 106:210]
    assert np.abs(smooth[inner, 0, 0] - slow[inner]).max() < 0.01
    assert np.abs(smooth[inner, 0, 2]).max() < 0.01


# Errors ------------------------------------------------------------------------------------------


def test_perfect_answers_have_no_error_and_those_of_another_size_only_mpjpe():
    result = evaluate(record(walker()))
    assert result["reference"] == "triangulated"
    assert result["overall"]["detection_rate"] == 1.0
    for kind in ("landmarks", "joints", "blazepose"):
        assert result["overall"][kind]["mpjpe_mm"] < 1.0
        assert result["overall"][kind]["accel_mm_per_frame2"] < 0.2

    larger = evaluate(record(walker(), lambda true: 1.1 * true))["views"][0]
    assert larger["joints"]["pa_mpjpe_mm"] < 0.5, "the size does not count after alignment"
    assert larger["joints"]["mpjpe_mm"] > 20
    assert larger["blazepose"]["mpjpe_mm"] < 1.0


def test_a_tremor_of_three_millimetres_is_an_accel_of_twelve():
    def tremble(true):
        answers = true.copy()
        answers[::2] += [0.0015, 0, 0]
        answers[1::2] -= [0.0015, 0, 0]
        answers[:, list(HIPS)] = true[:, list(HIPS)]  # what the others are measured from
        return answers

    view = evaluate(record(walker(), tremble))["views"][0]["joints"]
    # the second difference of +a, -a, +a is 4 a; ten of twelve joints tremble
    assert view["accel_mm_per_frame2"] == pytest.approx(4 * 1.5 * 10 / 12, rel=0.02)


def test_a_frame_without_the_person_counts_and_a_stranger_is_not_the_person():
    recordings = record(walker())
    for frame in range(15):
        recordings[1][frame] = []
    stranger = recordings[2][0][0]
    for frame in range(FRAMES):
        away = replace(stranger, track_id=1, height=300.0, pixels=stranger.pixels + 700.0)
        recordings[2][frame] = [away, *recordings[2][frame]]
    rows = evaluate(recordings)["views"]
    assert [row["detection_rate"] for row in rows] == [1.0, 0.75, 1.0, 1.0]
    assert rows[2]["joints"]["mpjpe_mm"] < 1.0


def test_a_person_keeps_counting_under_a_new_identity():
    recordings = record(walker())
    for frame in range(40, FRAMES):
        recordings[0][frame] = [replace(recordings[0][frame][0], track_id=8)]
    row = evaluate(recordings)["views"][0]
    assert row["detection_rate"] == 1.0


def two_people(second_height=300.0):
    """The walker, and somebody a metre aside who is another identity in each view."""
    both = []
    for view, (near, far) in enumerate(
        zip(record(walker()), record(np.array([1.0, 0.3, 0.0]) + walker()), strict=True)
    ):
        far = [[replace(s[0], track_id=view, height=second_height)] for s in far]
        order = (near, far) if view % 2 else (far, near)
        both.append([[*a, *b] for a, b in zip(*order, strict=True)])
    return both


def test_people_are_found_in_all_views_whatever_their_identities():
    people = people_in_views(CAMERAS, two_people())
    assert [{s.track_id for s in track} for track in people[0]] == [{7}] * 4
    assert [{s.track_id for s in track} for track in people[1]] == [{0}, {1}, {2}, {3}]
    larger = people_in_views(CAMERAS, two_people(second_height=900.0))
    assert {s.track_id for s in larger[0][0]} == {0}, "the larger one first"


def test_each_of_two_people_has_errors_of_their_own():
    recordings = two_people()
    for recording in recordings:
        for frame, sights in enumerate(recording):
            recording[frame] = [
                s if s.track_id == 7 else replace(s, joints=1.1 * s.joints) for s in sights
            ]
    result = evaluate(recordings)
    assert result["overall"]["joints"]["mpjpe_mm"] < 1.0
    (second,) = result["further_people"]
    assert second["overall"]["joints"]["mpjpe_mm"] > 20
    assert second["overall"]["landmarks"]["mpjpe_mm"] < 1.0
    assert [row["view"] for row in second["views"]] == [f"cam{i}.mp4" for i in range(4)]


def test_whom_one_view_alone_shows_is_nobody_to_judge_by():
    recordings = record(walker())
    stranger = recordings[2][0][0]
    for frame in range(FRAMES):
        away = replace(stranger, track_id=1, height=900.0, pixels=stranger.pixels + 400.0)
        recordings[2][frame] = [away, *recordings[2][frame]]
    ((tracks),) = people_in_views(CAMERAS, recordings)
    assert {s.track_id for s in tracks[2]} == {7}, "though larger"


def test_scores_are_held_against_what_came_of_them():
    def one_wrist_off(true):
        answers = true.copy()
        answers[:, JOINTS.index("left_wrist")] += [0.12, 0.0, 0.0]
        answers[:, JOINTS.index("right_wrist")] += [0.08, 0.0, 0.0]
        return answers

    result = evaluate(record(walker(), one_wrist_off))
    (claimed,) = result["reliability"]
    assert claimed == {"count": 4 * FRAMES * 12, "score": 0.9, "right": round(11 / 12, 4)}
    assert result["calibration_error"] == pytest.approx(11 / 12 - 0.9, abs=1e-3)


def test_views_that_do_not_show_the_person_together_are_refused():
    recordings = record(walker())
    empty = [[] for _ in range(FRAMES)]
    with pytest.raises(ValueError, match="in two views at once"):
        evaluate([recordings[0], empty, empty, empty])


# A laboratory's file -----------------------------------------------------------------------------


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
def test_a_trc_file_is_the_truth_whatever_its_axes(tmp_path, unit):
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
    with pytest.raises(ValueError, match=r"no \.trc file"):
        read_trc(short)


# Recording and command ---------------------------------------------------------------------------


class OnePerson:
    """A pipeline that always answers the same posed body."""

    def __init__(self, body, person):
        from types import SimpleNamespace

        self.estimator = SimpleNamespace(name="one", joint_names=JOINT_NAMES, delay_frames=0)
        self.body, self.person, self.cameras = body, person, []

    def __call__(self, frame):
        from stdformer_ros.types import Human

        self.cameras.append(frame.camera)
        return [Human(self.person, self.body, np.zeros_like(self.body.joints), 1.0)]


def one_person() -> OnePerson:
    from stdformer_ros.body.body_model import BodyModel, forward_kinematics
    from stdformer_ros.types import Body, Person

    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    rotations[0, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    model = BodyModel(108)
    _, joints = forward_kinematics(rotations, model.joints_template[None])
    place = np.array([0.0, 0.0, 4.0], np.float32)
    body = Body(
        joints[0].numpy() + place,
        np.ones(24, np.float32),
        None,
        rotations[0].numpy(),
        np.zeros(10, np.float32),
        True,
    )
    marks = np.arange(66, dtype=np.float32).reshape(33, 2)
    box = np.array([0, 10, 20, 110], np.float32)
    return OnePerson(body, Person(3, 0.9, box, marks, np.linspace(0, 1, 33, dtype=np.float32)))


def test_a_recorder_gives_landmarks_where_blazepose_would_mark_the_body():
    from stdformer_ros.camera import Camera
    from stdformer_ros.types import Frame

    pipeline = one_person()
    frame = Frame(np.zeros((1920, 1080, 3), np.uint8), 0.5, Camera.assumed(1080, 1920))
    ((stamp, (sight,)),) = ViewRecorder(pipeline)([frame], CAMERAS[0])
    assert (stamp, sight.track_id, sight.height) == (0.5, 3, 100.0)
    assert pipeline.cameras[0].fx == 1600.0, "the calibrated intrinsics, not the assumed ones"
    assert sight.pixels[JOINTS.index("right_knee")].tolist() == [52.0, 53.0]
    assert sight.blazepose is None

    landmarks = BodyLandmarks()
    turns = torch.from_numpy(pipeline.body.rotations[:1]).expand(24, 3, 3)[None]
    joints = torch.from_numpy(pipeline.body.joints)[None]
    from stdformer_ros.body.body_model import BodyModel

    rest = BodyModel(108).joints_template[None]
    marked = landmarks(turns, joints, rest, torch.zeros(1, 10))[0].numpy()
    for row, name in enumerate(JOINTS):
        np.testing.assert_allclose(
            sight.landmarks[row], marked[LANDMARK_NAMES.index(name)], atol=1e-5
        )
        np.testing.assert_allclose(
            sight.joints[row], pipeline.body.joints[JOINT_NAMES.index(name)], atol=1e-6
        )


def test_an_estimator_that_is_late_or_lacks_a_joint_is_refused():
    pipeline = one_person()
    pipeline.estimator.delay_frames = 4
    with pytest.raises(ValueError, match="4 frames late"):
        ViewRecorder(pipeline)
    pipeline.estimator.joint_names = ("pelvis",)
    with pytest.raises(ValueError, match="left_ankle"):
        ViewRecorder(pipeline)


def command(arguments) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *map(str, arguments)])
    return options.work(options)


def write_video(path, frames=30):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 60.0, (64, 96))
    for shade in range(frames):
        writer.write(np.full((96, 64, 3), shade, np.uint8))
    writer.release()


def test_the_command_writes_what_the_table_shows(tmp_path, monkeypatch, capsys):
    import stdformer_ros.pipeline

    views = tmp_path / "videos"
    views.mkdir()
    for number in range(2):
        write_video(views / f"cam{number}.mp4")
    calibration = write_toml(tmp_path / "Calib.toml", CAMERAS[:2])
    # the same pixels in both views: some consensus there is, if a bad one
    monkeypatch.setattr(stdformer_ros.pipeline, "build_pipeline", lambda *_, **__: one_person())
    file = tmp_path / "views.json"
    assert command(["--views", views, "--calibration", calibration, "--json", file]) == 0
    result = json.loads(file.read_text())
    assert [row["view"] for row in result["views"]] == ["cam0.mp4", "cam1.mp4"]
    assert result["frames_per_second"] == pytest.approx(60, rel=0.01)
    assert result["model"] == views_command.DEFAULT_MODEL
    shown = capsys.readouterr().out
    assert "all views" in shown
    assert "PA-MPJPE" in shown


def test_what_is_missing_is_said(tmp_path, capsys):
    calibration = write_toml(tmp_path / "Calib.toml")
    assert command(["--views", tmp_path]) == 2
    assert "--calibration" in capsys.readouterr().err
    assert command(["--views", tmp_path, "--calibration", calibration]) == 2
    assert "no videos" in capsys.readouterr().err
    (tmp_path / "only.mp4").write_bytes(b"")
    assert command(["--views", tmp_path, "--calibration", calibration]) == 2
    assert "1 videos" in capsys.readouterr().err
    assert command(["--views", tmp_path, "--motion", tmp_path]) == 2
    assert "one of them is needed" in capsys.readouterr().err
