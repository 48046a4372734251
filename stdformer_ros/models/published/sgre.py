"""SGRE (Wang and Zhang, ICCV 2023): global rotations, decoded one after another along the tree.

The input is a crop and 2D joints, which tell a ResNet-50 which person to look at. The network
locates 30 joints in 3D in the feature map, and 15 of them exchange features in a graph network.
From the pelvis outwards, each joint's global rotation is that of its parent plus a correction.
Parameters have the names of the published checkpoints.

Order: the network, its parts, and the estimator that puts it behind the streaming interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stdformer_ros.body.skeleton import BONES, PARENTS
from stdformer_ros.body.skeleton import JOINT_NAMES as SMPL_NAMES
from stdformer_ros.body.smpl import VERTICES, SmplBody
from stdformer_ros.models.estimator import (
    METRIC,
    SIGHT,
    Estimator,
    Features,
    concatenated,
    to_numpy,
)
from stdformer_ros.models.keypoints import marked_joints, sight_of_joints
from stdformer_ros.models.published.crops import (
    VIEW,
    Square,
    crop,
    crop_view,
    place_in_camera,
    square_around,
    to_input,
)
from stdformer_ros.models.published.resnet import ResNet50
from stdformer_ros.models.rotations import rotation_from_6d
from stdformer_ros.types import Body, FloatArray, Frame, Person

IMAGE_SIZE = 256
MAP = IMAGE_SIZE // 4
"""Cells on each side of the map on which 2D joints are given and located."""
GRID = IMAGE_SIZE // 32
CHANNELS = 2048
GAUSSIAN_SIGMA = 2.5
FOCAL_LENGTH = 5000.0
CAMERA_BOX_METRES = 2.5
MAX_DISTANCE = sqrt(FOCAL_LENGTH**2 * CAMERA_BOX_METRES**2 / IMAGE_SIZE**2)
"""Metres at which a box of 2.5 m fills the crop."""
BETAS = 10
NODE_CHANNELS = 128
FEATURES = "features"

CROP_SCALE = 1.25
"""Side of the crop over the longer side of the keypoints' box, as published."""
GIVEN_VISIBILITY = 0.3
"""Landmarks of lower visibility are not given to the network; the published OpenPose keypoints
lack such joints, too."""

JOINT_NAMES = (*SMPL_NAMES, "nose", "left_eye", "right_eye", "left_ear", "right_ear", "head_top")
"""SMPL's 24 joints and six of the head."""

GRAPH_NAMES = (
    "pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "neck", "head_top", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist",
)  # fmt: skip
GRAPH_BONES = (
    ("pelvis", "left_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("pelvis", "right_hip"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
    ("pelvis", "neck"),
    ("neck", "head_top"),
    ("neck", "left_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("neck", "right_shoulder"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
)


class SGRE(nn.Module):
    """The whole network: the feature map of the person around the joints, then their pose.

    Images are RGB crops of 256 x 256 with values 0..1, not normalised further. Joints are given in
    the order of `JOINT_NAMES`. The output is a dict:

    - `joint_img` (B, 30, 3): x, y on the map of 64 x 64, and z on the same scale;
    - `joint_score` (B, 30, 1): the value of the joint's volume at that position;
    - `global_6d` (B, 144): global rotations of SMPL's 24 joints, each a 3 x 2 matrix row by row;
    - `rotmat` (B, 24, 3, 3): the same as rotations, relative to the parents;
    - `betas` (B, 10), and `cam` (B, 3) from which `camera_translation` follows.

    Attributes:
        window: number of frames that `decode` sees, always 1.
    """

    window = 1

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.pose2feat = PoseGuide()
        self.position_net = PositionNet()
        self.rotation_net = RotationNet()

    def encode(self, images: Tensor, joints: Tensor, valid: Tensor) -> Features:
        """Compute the feature map of the person to whom the joints belong.

        Args:
            images: (B, 3, 256, 256) RGB, 0..1.
            joints: (B, 30, 2) x, y on the map of 64 x 64.
            valid: (B, 30) 1 where a joint is known, 0 where not.

        Returns:
            `features` (B, 2048, 8, 8).

        Raises:
            ValueError: if a shape is wrong.
        """
        batch = len(images)
        wanted = ((batch, 3, IMAGE_SIZE, IMAGE_SIZE), (batch, 30, 2), (batch, 30))
        given = tuple(tuple(x.shape) for x in (images, joints, valid))
        if given != wanted:
            raise ValueError(f"images, joints and validity must be {wanted}, not {given}")
        (stem,) = self.backbone.maps(images)
        guided = self.pose2feat(stem, gaussian_maps(joints) * valid[:, :, None, None])
        return {FEATURES: self.backbone.features([guided])}

    def decode(self, windows: Features) -> dict[str, Tensor]:
        """Estimate the pose in each window's only frame.

        Args:
            windows: the output of `encode`, `features` (B, 1, 2048, 8, 8).

        Returns:
            See the top of the class.
        """
        features = windows[FEATURES][:, -1]
        joints, scores = self.position_net(features)
        # No gradients flow from the rotations to the joints' positions.
        sixes, betas, camera = self.rotation_net(features, joints.detach(), scores.detach())
        return {
            "joint_img": joints * (MAP / GRID),
            "joint_score": scores,
            "global_6d": sixes.flatten(1),
            "rotmat": relative_rotations(sixes),
            "betas": betas,
            "cam": camera,
        }

    def forward(self, images: Tensor, joints: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Crops and 2D joints to the output; see `encode` and the top of the class."""
        features = self.encode(images, joints, valid)
        return self.decode({k: v.unsqueeze(1) for k, v in features.items()})


class PoseGuide(nn.Module):
    """Mixes the joints' maps into the stem's map: they mark the person to look at."""

    def __init__(self) -> None:
        super().__init__()
        channels = ResNet50.map_channels
        self.conv = nn.Sequential(
            nn.Conv2d(channels + len(JOINT_NAMES), channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, stem: Tensor, joints: Tensor) -> Tensor:
        """(B, 64, 64, 64) and (B, 30, 64, 64) -> (B, 64, 64, 64)."""
        return self.conv(torch.cat([stem, joints], dim=1))


class PositionNet(nn.Module):
    """Locates every joint in a small volume over the feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(CHANNELS, len(JOINT_NAMES) * GRID, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Locate the joints.

        Args:
            features: (B, 2048, 8, 8).

        Returns:
            (B, 30, 3) x, y, z in cells of the 8 x 8 x 8 volume, and (B, 30, 1) scores.
        """
        volumes = self.conv(features).unflatten(1, (len(JOINT_NAMES), GRID))  # (B, 30, z, y, x)
        volumes = volumes.flatten(2).softmax(dim=2).unflatten(2, (GRID, GRID, GRID))
        cells = torch.arange(GRID, dtype=volumes.dtype, device=volumes.device)
        axes = (volumes.sum(dim=(2, 3)), volumes.sum(dim=(2, 4)), volumes.sum(dim=(3, 4)))
        joints = torch.stack([(mass * cells).sum(dim=2) for mass in axes], dim=2)
        points = _grid_coordinates(joints).flatten(0, 1)[:, None, None, None]
        scores = F.grid_sample(volumes.flatten(0, 1).unsqueeze(1), points, align_corners=True)
        return joints, scores.view(*joints.shape[:2], 1)


class RotationNet(nn.Module):
    """Regresses rotations, shape and camera from the features at the joints."""

    graph_joints: Tensor

    def __init__(self) -> None:
        super().__init__()
        nodes = len(GRAPH_NAMES)
        adjacency = graph_adjacency()
        self.graph_block = nn.Sequential(
            GraphConvolution(adjacency, CHANNELS + 4, NODE_CHANNELS),
            *(GraphResidualBlock(adjacency, NODE_CHANNELS) for _ in range(4)),
        )
        width = nodes * NODE_CHANNELS
        self.shape_out = nn.Sequential(nn.Linear(width, BETAS))
        self.cam_out = nn.Sequential(nn.Linear(width, 3))
        self.global_rot = nn.Sequential(nn.Linear(width, 6))
        self.pose_branch = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width + CHANNELS + 6, 128),
                nn.ReLU(inplace=True),
                nn.Linear(128, 128),
                nn.ReLU(inplace=True),
                nn.Linear(128, 6),
            )
            for _ in PARENTS[1:]
        )
        graph_joints = torch.tensor([JOINT_NAMES.index(name) for name in GRAPH_NAMES])
        self.register_buffer("graph_joints", graph_joints, persistent=False)

    def forward(
        self, features: Tensor, joints: Tensor, scores: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode the rotations.

        Args:
            features: (B, 2048, 8, 8).
            joints: (B, 30, 3) x, y, z in cells.
            scores: (B, 30, 1).

        Returns:
            (B, 24, 6) global rotations, (B, 10) betas, (B, 3) camera.
        """
        points = _grid_coordinates(joints[:, :, :2]).unsqueeze(2)
        samples = F.grid_sample(features, points, align_corners=True).squeeze(3).transpose(1, 2)
        nodes = torch.cat([samples, joints, scores], dim=2)[:, self.graph_joints]
        graph = self.graph_block(nodes).flatten(1)
        rotations = [self.global_rot(graph)]
        for joint, branch in enumerate(self.pose_branch, start=1):
            parent = rotations[PARENTS[joint]]
            correction = branch(torch.cat([graph, samples[:, joint], parent], dim=1))
            rotations.append(correction + parent)
        return torch.stack(rotations, dim=1), self.shape_out(graph), self.cam_out(graph)


class GraphConvolution(nn.Module):
    """A separate linear layer for each node, then the weighted sum over neighbours.

    Args:
        adjacency: (N, N) normalised.
        inputs: input channels of a node.
        outputs: output channels of a node.
    """

    adjacency: Tensor

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.fcbn_list = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)) for _ in adjacency
        )

    def forward(self, nodes: Tensor) -> Tensor:
        """(B, N, inputs) -> (B, N, outputs)."""
        own = [layer(nodes[:, i]) for i, layer in enumerate(self.fcbn_list)]
        return torch.relu(self.adjacency @ torch.stack(own, dim=1))


class GraphResidualBlock(nn.Module):
    """Two graph convolutions with a residual connection."""

    def __init__(self, adjacency: Tensor, channels: int) -> None:
        super().__init__()
        self.graph_block1 = GraphConvolution(adjacency, channels, channels)
        self.graph_block2 = GraphConvolution(adjacency, channels, channels)

    def forward(self, nodes: Tensor) -> Tensor:
        """(B, N, channels) -> (B, N, channels)."""
        return self.graph_block2(self.graph_block1(nodes)) + nodes


def gaussian_maps(joints: Tensor) -> Tensor:
    """A Gaussian around each joint: (B, J, 2) x, y in cells -> (B, J, 64, 64)."""
    cells = torch.arange(MAP, dtype=joints.dtype, device=joints.device)
    x, y = ((cells - joints[..., i, None]) / GAUSSIAN_SIGMA for i in (0, 1))
    return torch.exp(-0.5 * (x[:, :, None, :] ** 2 + y[:, :, :, None] ** 2))


def graph_adjacency() -> Tensor:
    """(15, 15) D^-1/2 A D^-1/2, where A holds bones, left-right pairs and the diagonal."""
    pairs = [
        (name, name.replace("left", "right")) for name in GRAPH_NAMES if name.startswith("left")
    ]
    adjacency = torch.eye(len(GRAPH_NAMES), dtype=torch.float64)
    for a, b in (*GRAPH_BONES, *pairs):
        i, j = GRAPH_NAMES.index(a), GRAPH_NAMES.index(b)
        adjacency[i, j] = adjacency[j, i] = 1.0
    scale = adjacency.sum(0).rsqrt()
    return (scale[:, None] * adjacency * scale).float()


def relative_rotations(sixes: Tensor) -> Tensor:
    """Global rotations (B, 24, 6) to rotations relative to the parents (B, 24, 3, 3)."""
    columns = sixes.unflatten(2, (3, 2)).transpose(2, 3).flatten(2)
    rotations = rotation_from_6d(columns)
    children = rotations[:, list(PARENTS[1:])].transpose(2, 3) @ rotations[:, 1:]
    return torch.cat([rotations[:, :1], children], dim=1)


def camera_translation(camera: Tensor) -> Tensor:
    """`cam` to a translation: (B, 3) -> (B, 3) metres.

    The camera's focal length is 5000 pixels of the crop, its image is the crop.
    """
    return torch.cat([camera[:, :2], MAX_DISTANCE * camera[:, 2:].sigmoid()], dim=1)


def _grid_coordinates(cells: Tensor) -> Tensor:
    """Cells to `grid_sample`'s coordinates: -1..1 between the centres of the outer cells."""
    return cells / (GRID - 1) * 2 - 1


class SGREEstimator(Estimator):
    """SGRE on a stream; its input 2D joints are the tracked landmarks.

    Of the 30 joints it gets only those that OpenPose also has: 12 of the limbs, five of the head,
    neck and pelvis.

    Args:
        model: with its weights, in evaluation mode, on its device.
        smpl: on the same device.
        mesh_level: 6890, SMPL's own vertices.

    Raises:
        ValueError: if another mesh level is asked for.
    """

    name = "sgre_resnet50"
    window = SGRE.window
    reads_images = True
    joint_names = SMPL_NAMES
    skeleton = BONES

    def __init__(self, model: SGRE, smpl: SmplBody, mesh_level: int = VERTICES) -> None:
        if mesh_level != VERTICES:
            raise ValueError(f"{self.name} has meshes of {VERTICES} vertices, not {mesh_level}")
        self.model = model
        self.faces = smpl.faces
        self._smpl = smpl
        self.device = next(model.parameters()).device

    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """See `Estimator.encode`; the positions of the crops are features, too."""
        return self.encode_frames([(frame, people)])

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """See `Estimator.encode_frames`: the backbone runs once over all cameras' crops."""
        device = self.device
        crops, views, given, visibility = [], [], [], []
        for frame, people in seen:
            squares = [square_around(p, frame.image.shape, CROP_SCALE) for p in people]
            crops += [crop(frame.image, square, IMAGE_SIZE) for square in squares]
            views.append(crop_view(squares, frame.camera, device))
            given += [given_joints(p, square) for p, square in zip(people, squares, strict=True)]
            visibility += [sight_of_joints(p.visibility, self.joint_names) for p in people]
        joints, valid = (torch.from_numpy(np.stack(x)).to(device) for x in zip(*given, strict=True))
        return {
            **self.model.encode(to_input(crops).to(device), joints, valid),
            **concatenated(views),
            SIGHT: torch.from_numpy(np.stack(visibility)).to(device),
        }

    def decode(self, windows: Features) -> list[Body]:
        """See `Estimator.decode`."""
        output = self.model.decode({FEATURES: windows[FEATURES]})
        rotations, betas = output["rotmat"], output["betas"]
        vertices, joints = self._smpl(rotations, betas)
        # The published camera is so far away that weak perspective is accurate.
        x, y, z = camera_translation(output["cam"]).unbind(dim=1)
        weak = torch.stack([2 * FOCAL_LENGTH / (IMAGE_SIZE * z), x, y], dim=1)
        origin = place_in_camera(weak, windows[VIEW][:, -1])[:, None]
        joints, vertices = joints + origin, vertices + origin
        scores, metric = windows[SIGHT][:, -1], windows[METRIC][:, -1] > 0
        return [
            Body(to_numpy(j), to_numpy(s), to_numpy(v), to_numpy(r), to_numpy(b), bool(m))
            for j, s, v, r, b, m in zip(
                joints, scores, vertices, rotations, betas, metric, strict=True
            )
        ]


def given_joints(person: Person, square: Square) -> tuple[FloatArray, FloatArray]:
    """The 2D joints of a person, as SGRE's input.

    Returns:
        (30, 2) x, y on the map of 64 x 64 cells over the crop, and (30,) 1 where the joint is known
        and lies on the map, 0 elsewhere.
    """
    points, visibility = marked_joints(person.landmarks, person.visibility, JOINT_NAMES)
    cells = np.nan_to_num(square.to_crop(points, IMAGE_SIZE) * (MAP / IMAGE_SIZE))
    on_map = ((cells >= 0) & (cells < MAP)).all(axis=1)
    return cells, ((visibility > GIVEN_VISIBILITY) & on_map).astype(np.float32)
