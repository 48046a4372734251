"""The command line: what it writes, and which messages it gives when it cannot."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.cli_runs import CTRL_C, ERROR, folder_of_images, load
from helpers.fake_pipeline import BOX, BOX_FACES, JOINTS, FakePipeline
from stdformer_ros import pipeline
from stdformer_ros.cli import INTERRUPTED, main
from stdformer_ros.config import EstimatorSettings, PipelineSettings
from stdformer_ros.io import offline
from stdformer_ros.io.video import read_video
from stdformer_ros.models import MODELS
from stdformer_ros.models.registry import ESTIMATORS, create_estimator
from stdformer_ros.models.table import needs
from stdformer_ros.types import Frame


@pytest.mark.usefixtures("built")
def test_a_row_for_every_person_in_every_frame(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", [1, 0, 2])
    assert main(["run", str(images), "--out", str(tmp_path / "new" / "out")]) == 0
    humans = load(tmp_path / "new" / "out")
    assert humans["frame"].tolist() == [0, 2, 2]
    assert humans["track_id"].tolist() == [1, 1, 2]
    assert humans["stamp"].tolist() == pytest.approx([0, 2 / 30, 2 / 30])
    assert humans["score"].tolist() == [0.75] * 3
    assert humans["joint_names"].tolist() == list(JOINTS)
    assert humans["joints"].shape == (3, len(JOINTS), 3)
    # the fake's second person stands at x = 1, z = 3
    assert humans["joints"][2, 0].tolist() == [1.0, 0.0, 3.0]
    assert humans["joint_scores"].shape == (3, len(JOINTS))
    assert not humans["metric_depth"].any(), "nothing is known of the camera of a video"
    assert str(humans["model"]) == "fake"
    assert float(humans["fps"]) == pytest.approx(30.0)
    assert not {"vertices", "faces"} & humans.keys()


@pytest.mark.usefixtures("built")
def test_vertices_are_written_when_asked_for(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", [1, 2])
    assert main(["run", str(images), "--out", str(tmp_path), "--vertices"]) == 0
    humans = load(tmp_path)
    assert humans["vertices"].shape == (3, 8, 3)
    assert humans["faces"].tolist() == BOX_FACES.tolist()
    np.testing.assert_allclose(humans["vertices"][2], BOX + np.float32([1, 0, 3]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["humans.npz", "images"]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("extra", [[], ["--vertices"]])
def test_a_video_without_people_gives_no_rows(tmp_path: Path, extra: list[str]) -> None:
    images = folder_of_images(tmp_path / "images", [0, 0])
    assert main(["run", str(images), "--out", str(tmp_path), *extra]) == 0
    humans = load(tmp_path)
    assert humans["joints"].shape == (0, len(JOINTS), 3)
    assert humans["frame"].shape == humans["track_id"].shape == (0,)


@pytest.mark.usefixtures("built")
def test_the_overlay_has_every_frame_at_the_videos_pace(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", [0, 1, 1, 2])
    assert main(["run", str(images), "--out", str(tmp_path), "--overlay"]) == 0
    frames = list(read_video(tmp_path / "overlay.mp4"))
    assert len(frames) == 4
    assert frames[1].stamp == pytest.approx(1 / 30, abs=1e-3)
    plain, drawn = frames[0].image.astype(int), frames[1].image.astype(int)
    assert np.abs(drawn - plain).max() > 60, "somebody is drawn"


@pytest.mark.usefixtures("built")
def test_delayed_answers_are_written_with_the_frames_that_they_are_for(tmp_path: Path) -> None:
    """Those of the last frames too; the overlay shows the same."""
    images = folder_of_images(tmp_path / "images", [1, 0, 2, 0, 1])
    options = ["--out", str(tmp_path), "--delay-frames", "2", "--overlay"]
    assert main(["run", str(images), *options]) == 0
    humans = load(tmp_path)
    assert humans["frame"].tolist() == [0, 2, 2, 4]
    assert humans["stamp"] * 30 == pytest.approx(humans["frame"])
    drawn = [np.ptp(frame.image[8:]) > 60 for frame in read_video(tmp_path / "overlay.mp4")]
    assert drawn == [True, False, True, False, True]


def test_options_reach_the_pipeline(tmp_path: Path, built: dict[str, Any]) -> None:
    images = folder_of_images(tmp_path / "images", [0])
    options = ["--model", "other", "--mesh-level", "431", "--device", "cuda:1"]
    options += ["--landmarks", "lite", "--checkpoint", "a.pt", "--smpl", "b.pkl"]
    options += ["--mesh-sampling", "c.npz", "--joint-regressor", "d.npy"]
    options += ["--backbone", "resnet50", "--delay-frames", "3"]
    options += ["--filter-min-cutoff", "1.5", "--filter-beta", "0.5"]
    options += ["--detect-every", "5", "--max-people", "2", "--velocity-smoothing", "0.5"]
    assert main(["run", str(images), "--out", str(tmp_path), *options]) == 0
    assert built == asdict(
        PipelineSettings(
            model="other",
            mesh_level=431,
            device="cuda:1",
            landmarks="lite",
            checkpoint="a.pt",
            smpl="b.pkl",
            mesh_sampling="c.npz",
            joint_regressor="d.npy",
            backbone="resnet50",
            filter_min_cutoff=1.5,
            filter_beta=0.5,
            delay_frames=3,
            detect_every=5,
            max_people=2,
            velocity_smoothing=0.5,
        )
    )


def test_progress_tells_frames_people_and_speed(
    tmp_path: Path, built: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [1, 2, 2])
    main(["run", str(images), "--out", str(tmp_path)])
    output = capsys.readouterr()
    assert "3/3" in output.err
    assert "people=" in output.err
    assert "frames/s" in output.err
    assert "2 people in 3 frames" in output.out
    assert str(tmp_path / "humans.npz") in output.out


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("delay", [0, 1])
def test_ctrl_c_keeps_what_was_answered_until_then(
    tmp_path: Path, delay: int, capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [1, 2, CTRL_C, 1])
    options = ["--out", str(tmp_path), "--overlay", "--vertices", "--delay-frames", str(delay)]
    assert main(["run", str(images), *options]) == INTERRUPTED
    humans = load(tmp_path)
    assert humans["frame"].tolist() == [0, 1, 1][: 1 if delay else 3]
    assert humans["vertices"].shape == (1 if delay else 3, 8, 3)
    assert len(list(read_video(tmp_path / "overlay.mp4"))) == 2 - delay
    assert f"people in {2 - delay} frames" in capsys.readouterr().out


@pytest.mark.usefixtures("built")
def test_an_error_half_way_is_raised_and_what_was_answered_is_kept(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", [1] * 12 + [ERROR, 1])
    with pytest.raises(RuntimeError, match="the image asked for it"):
        main(["run", str(images), "--out", str(tmp_path), "--overlay"])
    assert load(tmp_path)["frame"].tolist() == list(range(12))
    assert len(list(read_video(tmp_path / "overlay.mp4"))) == 12


@pytest.mark.usefixtures("built")
def test_an_image_that_cannot_be_read_is_left_out_and_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [1, 1, 1])
    (images / "001.png").write_bytes(b"nothing")
    assert main(["run", str(images), "--out", str(tmp_path), "--fps", "10"]) == 0
    output = capfd.readouterr()
    assert "1 people in 2 frames" in output.out
    assert "1 of 3 pictures were left out" in output.err
    assert "001.png" in output.err
    assert load(tmp_path)["stamp"].tolist() == pytest.approx([0.0, 0.2])


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("end", [ERROR, CTRL_C])
def test_a_run_without_any_answer_leaves_older_results(tmp_path: Path, end: int) -> None:
    images = folder_of_images(tmp_path / "images", [1, 1])
    assert main(["run", str(images), "--out", str(tmp_path), "--overlay"]) == 0
    broken = folder_of_images(tmp_path / "broken", [end])
    command = ["run", str(broken), "--out", str(tmp_path), "--overlay"]
    if end == CTRL_C:
        assert main(command) == INTERRUPTED
    else:
        with pytest.raises(RuntimeError):
            main(command)
    assert load(tmp_path)["frame"].tolist() == [0, 1]
    assert len(list(read_video(tmp_path / "overlay.mp4"))) == 2


def test_an_older_result_stays_when_the_new_one_cannot_be_written(
    tmp_path: Path, built: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = folder_of_images(tmp_path / "images", [1, 1])
    main(["run", str(images), "--out", str(tmp_path)])

    def full(*arguments: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert main(["run", str(images), "--out", str(tmp_path)]) == 2
    assert load(tmp_path)["frame"].tolist() == [0, 1]


def refused(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message of a command that must exit with code 2; it must be one line."""
    assert main([str(a) for a in arguments]) == 2
    output = capfd.readouterr()
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1, output.err
    assert output.err.startswith("error: ")
    return output.err


def test_a_missing_video_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.mp4" in refused(capfd, "run", tmp_path / "nowhere.mp4", "--out", tmp_path)


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\0" * 5000])
def test_a_file_that_is_no_video_is_named(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "notes.mp4"
    video.write_bytes(content)
    assert "notes.mp4" in refused(capfd, "run", video, "--out", tmp_path)


def test_a_folder_without_images_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path) in refused(capfd, "run", tmp_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "smplify"], ["smplify", "stdformer_s_keypoints"]),
        (["--mesh-level", "500"], ["500", "6890"]),
        (["--device", "quantum"], ["quantum"]),
        (["--checkpoint", "gone.safetensors"], ["gone.safetensors"]),
        (["--model", "sgre_resnet50"], ["checkpoint", "smpl"]),
    ],
)
def test_what_cannot_be_built_is_said_in_a_line(
    tmp_path: Path, options: list[str], said: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [0])
    message = refused(capfd, "run", images, "--out", tmp_path / "out", *options)
    assert all(word in message for word in said), message


def test_a_broken_checkpoint_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images = folder_of_images(tmp_path / "images", [0])
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(b"\0" * 100)
    message = refused(capfd, "run", images, "--out", tmp_path / "out", "--checkpoint", broken)
    assert "weights.safetensors" in message


def test_an_output_folder_that_is_a_file_is_named(
    tmp_path: Path, built: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    images = folder_of_images(tmp_path / "images", [0])
    (tmp_path / "out").write_text("")
    assert "out" in refused(capfd, "run", images, "--out", tmp_path / "out")


def test_vertices_of_a_model_without_a_mesh_are_refused(
    tmp_path: Path,
    built: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def no_mesh(settings: PipelineSettings) -> FakePipeline:
        fake = FakePipeline()
        fake.estimator.faces = None
        return fake

    monkeypatch.setattr(pipeline, "build_pipeline", no_mesh)
    images = folder_of_images(tmp_path / "images", [1])
    assert "no mesh" in refused(capfd, "run", images, "--out", tmp_path, "--vertices")


def test_an_error_of_our_own_is_not_reported_as_a_mistake_of_the_user(
    tmp_path: Path, built: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(offline, "run_offline", fails)
    images = folder_of_images(tmp_path / "images", [1])
    with pytest.raises(ValueError, match="a bug"):
        main(["run", str(images), "--out", str(tmp_path)])


def test_without_a_command_it_shows_how_it_is_used() -> None:
    command = [sys.executable, "-m", "stdformer_ros.cli"]
    root = Path(__file__).parents[1]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "usage:" in result.stderr


# --- models


def test_every_model_can_run_in_the_pipeline() -> None:
    assert set(ESTIMATORS) == set(MODELS)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if needs(name)])
def test_what_the_table_says_a_model_needs_is_what_it_asks_for(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} needs {' and '.join(needs(name))}"):
        create_estimator(EstimatorSettings(name))


def test_the_default_model_needs_nothing() -> None:
    assert needs("stdformer_s_keypoints") == ()


# --- all of it


def test_people_of_a_real_video_end_up_in_the_file(tmp_path: Path, real_video: Path) -> None:
    """A second of two people, through the real networks."""
    images = tmp_path / "images"
    images.mkdir()
    for number, frame in zip(range(70, 78), list_from(real_video, 70), strict=False):
        small = cv2.resize(frame.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(images / f"{number}.jpg"), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    options = ["--mesh-level", "431", "--vertices", "--landmarks", "lite"]
    assert main(["run", str(images), "--out", str(tmp_path), *options]) == 0
    humans = load(tmp_path)
    ids, counts = np.unique(humans["track_id"], return_counts=True)
    assert len(ids) == 2
    assert counts.min() >= 5
    names = humans["joint_names"].tolist()
    head, pelvis = (humans["joints"][:, names.index(n)] for n in ("head", "pelvis"))
    assert (head[:, 1] < pelvis[:, 1] - 0.4).all(), "both stand upright"
    assert ((pelvis[:, 2] > 1.5) & (pelvis[:, 2] < 15)).all()
    assert humans["vertices"].shape[1:] == (431, 3)
    assert np.linalg.norm(humans["vertices"].mean(axis=1) - pelvis, axis=1).max() < 0.5


def list_from(video: Path, start: int) -> list[Frame]:
    frames = []
    for number, frame in enumerate(read_video(video)):
        if number >= start:
            frames.append(frame)
        if len(frames) == 8:
            break
    return frames


def test_training_needs_clips(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--motion", tmp_path, "--out", tmp_path / "run"]
    assert str(tmp_path) in refused(capfd, "train", *options)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, stdformer_ros.cli; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
