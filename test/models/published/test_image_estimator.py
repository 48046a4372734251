"""Published image networks in the stream: crops in, bodies where they are in the camera out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from helpers.image_stream import CAMERA, noise_frame, person, stream
from helpers.paths import ROOT
from helpers.tiny_networks import tiny_mesh, tiny_stdformer, write_mesh_sampling
from stdformer_ros.body.mesh_levels import load_mesh_sampling
from stdformer_ros.body.skeleton import EVALUATION_ORDER, H36M_NAMES
from stdformer_ros.body.smpl import load_joint_regressor
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import EstimatorSettings
from stdformer_ros.models import CheckpointError
from stdformer_ros.models.lifting.weights import SHIPPED
from stdformer_ros.models.published.crops import crop, square_around, to_input
from stdformer_ros.models.published.image_estimator import CROP_SCALE, JOINT_NAMES, ImageEstimator
from stdformer_ros.models.published.stdformer import IMAGE_MEAN, IMAGE_STD
from stdformer_ros.models.registry import ESTIMATORS, create_estimator, create_model


class KnownNetwork(torch.nn.Module):
    """Always gives the same output, so that only the estimator around it is tested."""

    window = 1

    def __init__(self, weak: Tensor, joints: Tensor, fine: Tensor) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.answer = {
            "pred_cam": weak[None],
            "pred_3d_joints": joints[None],
            "pred_3d_vertices_coarse": fine[None, :431],
            "pred_3d_vertices_intermediate": fine[None, :1723],
            "pred_3d_vertices_fine": fine[None],
        }

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        return {"seen": images.mean((1, 2, 3))}

    def decode(self, windows: dict[str, Tensor]) -> dict[str, Tensor]:
        assert set(windows) == {"seen"}
        return self.answer


def test_a_distant_body_is_found_where_it_is() -> None:
    """The weak camera of a crop, worked out by hand from a body 12 m away, gives that body."""
    rng = np.random.default_rng(1)
    pelvis = np.array([1.1, -0.7, 12.0])
    body = rng.normal(size=(14, 3)).astype(np.float32) * (0.3, 0.5, 0.05)
    someone = person((350, 170, 420, 280))
    square = square_around(someone, (480, 640, 3), CROP_SCALE)
    scale = 2 * CAMERA.fx / (pelvis[2] * square.size)
    shift = pelvis[:2] - np.array([square.x - CAMERA.cx, square.y - CAMERA.cy]) / 600 * pelvis[2]
    weak = torch.tensor([scale, *shift], dtype=torch.float32)
    body -= body[[2, 3]].mean(axis=0)  # hips
    network = KnownNetwork(weak, torch.tensor(body + 0.25).float(), torch.zeros(6890, 3))
    estimator = ImageEstimator("known", network, tiny_mesh())
    (human,) = stream(estimator, [noise_frame(0)], [someone])
    assert human.body.joints[0] == pytest.approx(pelvis, abs=1e-4)
    assert human.body.joints[1:] == pytest.approx(body + pelvis, abs=1e-4)
    assert human.body.metric_depth
    shown = CAMERA.project(human.body.joints[:1])[0]
    in_crop = (shown - (square.x, square.y)) / (0.5 * square.size)
    assert in_crop == pytest.approx(scale * shift, abs=1e-4), "s (X + t) of the crop's [-1, 1]"


def test_twice_the_focal_length_is_twice_as_far() -> None:
    network = KnownNetwork(torch.tensor([0.9, 0.1, 0.0]), torch.rand(14, 3), torch.rand(6890, 3))
    estimator = ImageEstimator("known", network, tiny_mesh())
    someone = person((100, 100, 200, 300))
    depths = []
    for focal in (400.0, 800.0):
        camera = Camera(640, 480, focal, focal, 320, 240, known=False)
        (human,) = stream(estimator, [noise_frame(0, camera)], [someone])
        depths.append(human.body.joints[0, 2])
        assert not human.body.metric_depth
    assert depths[1] == pytest.approx(2 * depths[0])
    assert depths[0] == pytest.approx(2 * 400 / (0.9 * 1.2 * 200))


@pytest.mark.parametrize("scale", [-1.0, 0.0, 1e-9])
def test_an_impossible_scale_still_puts_the_body_in_front_of_the_camera(scale: float) -> None:
    network = KnownNetwork(torch.tensor([scale, 0, 0]), torch.rand(14, 3), torch.rand(6890, 3))
    (human,) = stream(
        ImageEstimator("known", network, tiny_mesh()), [noise_frame(0)], [person((9, 9, 99, 99))]
    )
    assert np.isfinite(human.body.vertices).all()
    assert human.body.joints[:, 2].min() > 0


def test_with_a_regressor_joints_come_from_the_mesh_in_the_published_order() -> None:
    """One vertex for each of the 17 joints: names must meet their vertices."""
    fine = torch.rand(6890, 3)
    regressor = torch.zeros(17, 6890)
    regressor[torch.arange(17), torch.arange(17) * 100] = 1.0
    network = KnownNetwork(torch.tensor([1.0, 0.0, 0.0]), torch.rand(14, 3), fine)
    estimator = ImageEstimator("known", network, tiny_mesh(), joint_regressor=regressor)
    (human,) = stream(estimator, [noise_frame(0)], [person((100, 100, 200, 300))])
    pelvis = human.body.joints[0]
    published = [H36M_NAMES[i].replace("head_top", "head") for i in EVALUATION_ORDER]
    assert list(JOINT_NAMES[1:]) == published
    for name in JOINT_NAMES:
        expected = fine[100 * H36M_NAMES.index(name.replace("head", "head_top"))] - fine[0]
        found = human.body.joints[JOINT_NAMES.index(name)] - pelvis
        assert found == pytest.approx(expected.numpy(), abs=1e-5), name
    assert human.body.vertices - pelvis == pytest.approx((fine - fine[0]).numpy(), abs=1e-5)


@pytest.mark.parametrize("level", [431, 1723, 6890])
def test_the_mesh_has_the_requested_level_and_its_faces(level: int) -> None:
    network = KnownNetwork(torch.tensor([1.0, 0.0, 0.0]), torch.rand(14, 3), torch.rand(6890, 3))
    estimator = ImageEstimator("known", network, tiny_mesh(), mesh_level=level)
    (human,) = stream(estimator, [noise_frame(0)], [person((100, 100, 200, 300))])
    assert human.body.vertices.shape == (level, 3)
    assert estimator.faces.max() == level - 1


def test_streaming_equals_the_whole_window_at_once() -> None:
    """Frames one by one through the pipeline against one call on all crops; SD and TD are on."""
    model = tiny_stdformer(window=3)
    estimator = ImageEstimator("stdformer_S", model, tiny_mesh(), mesh_level=431)
    people = [person((100, 100, 220, 400), 1), person((300, 50, 420, 280), 2)]
    frames = [noise_frame(seed) for seed in range(5)]
    humans = stream(estimator, frames, people)
    for someone, human in zip(people, humans, strict=True):
        square = square_around(someone, (480, 640, 3), CROP_SCALE)
        crops = [crop(frame.image, square, 224) for frame in frames[-3:]]
        with torch.inference_mode():
            answer = model(to_input(crops, IMAGE_MEAN, IMAGE_STD)[None])
        joints = answer["pred_3d_joints"][0, -1]
        pelvis = joints[2:4].mean(0)
        body = human.body
        assert body.joints[1:] - body.joints[0] == pytest.approx(
            (joints - pelvis).numpy(), abs=1e-5
        )
        coarse = answer["pred_3d_vertices_coarse"][0, -1] - pelvis
        assert body.vertices - body.joints[0] == pytest.approx(coarse.numpy(), abs=1e-5)


def test_earlier_frames_of_the_window_matter() -> None:
    """Otherwise the test above would hold for a network that forgot TD."""
    estimator = ImageEstimator("stdformer_S", tiny_stdformer(window=3), tiny_mesh())
    someone = [person((100, 100, 220, 400))]
    answers = [
        stream(estimator, [noise_frame(seed), noise_frame(7)], someone)[0].body.joints
        for seed in (0, 1)
    ]
    assert np.abs(answers[0] - answers[1]).max() > 1e-6


def test_a_hidden_joint_has_a_low_score() -> None:
    network = KnownNetwork(torch.tensor([1.0, 0.0, 0.0]), torch.rand(14, 3), torch.rand(6890, 3))
    someone = person((100, 100, 200, 300))
    someone.visibility[[25, 27]] = 0.05
    (human,) = stream(ImageEstimator("known", network, tiny_mesh()), [noise_frame(0)], [someone])
    scores = dict(zip(JOINT_NAMES, human.body.joint_scores, strict=True))
    assert scores["left_knee"] == pytest.approx(0.05)
    assert scores["right_knee"] == pytest.approx(0.8)


def test_a_network_with_a_users_files_runs_on_a_stream(tmp_path: Path) -> None:
    """FastMETRO-S on ResNet-50 from a file of weights, through every step of `create_estimator`."""
    mesh = str(write_mesh_sampling(tmp_path / "mesh_downsampling.npz"))
    torch.manual_seed(0)
    network = create_model("fastmetro_S_resnet50", smpl_regressor=False)
    torch.save(network.state_dict(), tmp_path / "weights.bin")
    del network
    regressor = np.full((17, 6890), 1 / 6890)
    np.save(tmp_path / "regressor.npy", regressor)
    estimator = create_estimator(
        EstimatorSettings(
            "fastmetro_S_resnet50",
            mesh_level=431,
            checkpoint=str(tmp_path / "weights.bin"),
            mesh_sampling=mesh,
            joint_regressor=str(tmp_path / "regressor.npy"),
        )
    )
    (human,) = stream(estimator, [noise_frame(0)], [person((100, 100, 220, 400))])
    assert human.body.vertices.shape == (431, 3)
    assert human.body.joints == pytest.approx(np.tile(human.body.joints[0], (15, 1)), abs=1e-5)
    assert estimator.window == 1


def test_stdformer_runs_on_a_stream_with_another_backbone(tmp_path: Path) -> None:
    mesh = str(write_mesh_sampling(tmp_path / "mesh_downsampling.npz"))
    torch.manual_seed(0)
    network = create_model("stdformer_S", backbone="resnet50", smpl_regressor=False)
    torch.save(network.state_dict(), tmp_path / "weights.bin")
    files = {"checkpoint": str(tmp_path / "weights.bin"), "mesh_sampling": mesh}
    estimator = create_estimator(
        EstimatorSettings("stdformer_S", mesh_level=431, backbone="resnet50", **files)
    )
    assert estimator.window == 8
    (human,) = stream(estimator, [noise_frame(0)], [person((100, 100, 220, 400))])
    assert np.isfinite(human.body.vertices).all()
    with pytest.raises(CheckpointError, match=r"looks like STDFormer-S on ResNet; the network is"):
        create_estimator(EstimatorSettings("stdformer_S", backbone="hrnet_w32", **files))


def test_a_backbone_that_is_not_there_or_not_exchangeable_is_refused(tmp_path: Path) -> None:
    mesh = str(write_mesh_sampling(tmp_path / "mesh_downsampling.npz"))
    with pytest.raises(ValueError, match=r"no backbone 'vgg'; there is: hrnet_w64, hrnet_w32"):
        create_estimator(
            EstimatorSettings("stdformer_S", backbone="vgg", checkpoint="w.bin", mesh_sampling=mesh)
        )
    for name in ("fastmetro_S_resnet50", "stdformer_s_keypoints", "poseformer_27"):
        with pytest.raises(ValueError, match=f"{name} has a backbone of its own, or none"):
            create_estimator(EstimatorSettings(name, backbone="resnet50"))


NEED_NOTHING = {"stdformer_s_keypoints", *SHIPPED}


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - NEED_NOTHING))
def test_without_the_users_files_it_says_which_are_missing(name: str) -> None:
    with pytest.raises(ValueError, match=r"checkpoint.*official_weights\.md"):
        create_estimator(EstimatorSettings(name))


def test_a_file_that_is_not_there_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz.*FastMETRO"):
        create_estimator(
            EstimatorSettings("fastmetro_S_hrnet_w64", checkpoint=nowhere, mesh_sampling=nowhere)
        )
    mesh = str(write_mesh_sampling(tmp_path / "mesh.npz"))
    with pytest.raises(FileNotFoundError, match=r"J_regressor_h36m_correct"):
        create_estimator(
            EstimatorSettings(
                "pointhmr_hrnet_w32",
                checkpoint=nowhere,
                mesh_sampling=mesh,
                joint_regressor=nowhere,
            )
        )


def test_a_file_of_no_use_is_refused_instead_of_ignored() -> None:
    with pytest.raises(ValueError, match="no use for mesh_sampling"):
        create_estimator(
            EstimatorSettings("stdformer_s_keypoints", mesh_sampling="mesh_downsampling.npz")
        )
    with pytest.raises(ValueError, match="no use for smpl"):
        create_estimator(
            EstimatorSettings("pointhmr_hrnet_w32", checkpoint="a", mesh_sampling="b", smpl="c")
        )


def test_the_published_mesh_files_fit_each_other(shared: Path) -> None:
    """The real files: joints regressed from an upsampled mesh lie inside of that mesh."""
    mesh = load_mesh_sampling(shared / "parity" / "mesh_downsampling.npz")
    regressor = load_joint_regressor(shared / "parity" / "J_regressor_h36m_correct.npy")
    assert [len(faces) for faces in mesh.faces] == [13776, 3442, 858]
    assert regressor.sum(1).numpy() == pytest.approx(np.ones(17), abs=1e-3)
    network = KnownNetwork(torch.tensor([1.0, 0.0, 0.0]), torch.rand(14, 3), torch.rand(6890, 3))
    estimator = ImageEstimator("known", network, mesh, joint_regressor=regressor)
    (human,) = stream(estimator, [noise_frame(0)], [person((100, 100, 200, 300))])
    low, high = human.body.vertices.min(axis=0), human.body.vertices.max(axis=0)
    assert ((low < human.body.joints) & (human.body.joints < high)).all()


def test_a_regressor_of_another_mesh_is_refused(tmp_path: Path) -> None:
    mesh = str(write_mesh_sampling(tmp_path / "mesh.npz"))
    np.save(tmp_path / "regressor.npy", np.zeros((24, 10475)))
    with pytest.raises(ValueError, match=r"\(17, 6890\).*\(24, 10475\)"):
        create_estimator(
            EstimatorSettings(
                "fastmetro_S_hrnet_w64",
                checkpoint="weights.bin",
                mesh_sampling=mesh,
                joint_regressor=str(tmp_path / "regressor.npy"),
            )
        )


def test_an_impossible_mesh_level_is_refused() -> None:
    network = KnownNetwork(torch.ones(3), torch.rand(14, 3), torch.rand(6890, 3))
    with pytest.raises(ValueError, match="108"):
        ImageEstimator("known", network, tiny_mesh(), mesh_level=108)


def test_the_parameter_file_for_official_weights_fits_the_node() -> None:
    """It sets parameters that the node has, and asks for files that its model uses."""
    config = ROOT / "config"
    default, official = (
        yaml.safe_load((config / name).read_text())["/**"]["ros__parameters"]
        for name in ("default.yaml", "smpl.yaml")
    )
    assert official.keys() <= default.keys()
    assert official["model"] in ESTIMATORS
    options = ("checkpoint", "mesh_sampling", "joint_regressor")
    with pytest.raises(FileNotFoundError, match=r"mesh_downsampling\.npz"):
        create_estimator(
            EstimatorSettings(official["model"], **{name: official[name] for name in options})
        )
