"""Humans as ROS messages. Every message has the image's stamp.

`human_array` and `body_model` are this package's own messages; `joint_poses`, `joint_cloud` and
`rgb_message` are the standard ones for viewers.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion, Vector3
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, PointCloud2, PointField, RegionOfInterest
from std_msgs.msg import Header

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.msg import BodyModel, HumanArray
from stdformer_ros.msg import Human as HumanMessage
from stdformer_ros.ros.inputs.transform_buffer import Transform
from stdformer_ros.types import Body, FloatArray, Human, ImageArray

if TYPE_CHECKING:
    from stdformer_ros.models.estimator import Estimator

# Standard deviations of the pelvis' position as fractions of its distance: across the line of
# sight, along it with known intrinsics, and along it with assumed ones.
SIDEWAYS_FRACTION, DEPTH_FRACTION, ASSUMED_DEPTH_FRACTION = 0.02, 0.1, 0.3
# The same along the line of sight with a depth image: a constant in metres, because the torso's
# thickness is not known, plus a fraction of the distance, with which a depth camera's error grows.
MEASURED_METRES, MEASURED_FRACTION = 0.05, 0.01
ORIENTATION_RADIANS = 0.25
"""Standard deviation of the orientation if the mean joint score is 0.5. For other scores it is
divided by the square root of the odds, score / (1 - score): so do the errors that `cli evaluate
--motion` finds (docs/accuracy.md)."""
USUAL_SCORE = 0.9
"""If the mean joint score is at least this, the standard deviations of the position are as above;
for lower scores they grow."""

CLOUD_FIELDS = (
    ("x", "<f4", 0),
    ("y", "<f4", 4),
    ("z", "<f4", 8),
    ("score", "<f4", 12),
    ("track_id", "<u4", 16),
    ("joint", "<u4", 20),
)
"""Name, type and offset in bytes of each field of a point in ~/joints_cloud."""

CLOUD_TYPE = np.dtype([(name, kind) for name, kind, _ in CLOUD_FIELDS])
"""One point of ~/joints_cloud; `joint` indexes HumanArray.joint_names."""


def human_array(
    header: Header,
    estimator: str,
    joint_names: Sequence[str],
    humans: Sequence[Human],
    camera: Camera,
    with_vertices: bool,
    camera_pose: Transform | None = None,
) -> HumanArray:
    """Everybody in one image.

    Args:
        header: the image's stamp, and the frame that the humans are in.
        estimator: name of the estimator.
        joint_names: of the humans' joints.
        humans: everybody.
        camera: that of the image.
        with_vertices: whether to put the meshes into the message.
        camera_pose: from the camera's frame to the header's, None if they are the same.
    """
    return HumanArray(
        header=header,
        estimator=estimator,
        joint_names=list(joint_names),
        humans=[_human(human, joint_names, camera, with_vertices, camera_pose) for human in humans],
    )


def body_model(estimator: Estimator) -> BodyModel:
    """How an estimator's joints and vertices are connected."""
    faces = estimator.faces
    return BodyModel(
        estimator=estimator.name,
        joint_names=list(estimator.joint_names),
        bones=_indices(np.asarray(estimator.skeleton)),
        triangles=_indices(np.zeros((0, 3), np.int32) if faces is None else faces),
    )


def joint_poses(header: Header, humans: Sequence[Human]) -> PoseArray:
    """The joints of everybody, person by person, in metres; orientations are the identity."""
    return PoseArray(
        header=header,
        poses=[
            Pose(position=point, orientation=Quaternion(w=1.0))
            for human in humans
            for point in _points(human.body.joints)
        ],
    )


def joint_cloud(header: Header, humans: Sequence[Human]) -> PointCloud2:
    """All joints as points of `CLOUD_TYPE` in metres, in the order of `joint_poses`."""
    points = np.zeros(sum(len(human.body.joints) for human in humans), CLOUD_TYPE)
    row = 0
    for human in humans:
        rows = points[row : row + len(human.body.joints)]
        rows["x"], rows["y"], rows["z"] = human.body.joints.T
        rows["score"] = human.body.joint_scores
        rows["track_id"] = human.person.track_id
        rows["joint"] = np.arange(len(rows))
        row += len(rows)
    types = {"<f4": PointField.FLOAT32, "<u4": PointField.UINT32}
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=offset, datatype=types[kind], count=1)
            for name, kind, offset in CLOUD_FIELDS
        ],
        is_bigendian=False,
        point_step=CLOUD_TYPE.itemsize,
        row_step=CLOUD_TYPE.itemsize * len(points),
        data=points.tobytes(),
        is_dense=bool(all(np.isfinite(human.body.joints).all() for human in humans)),
    )


def rgb_message(header: Header, image: ImageArray) -> Image:
    """An RGB picture (H, W, 3) uint8 as an Image."""
    height, width = image.shape[:2]
    # rclpy takes bytes as a block of memory, but copies a numpy array element by element.
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=image.tobytes(),
    )


def pelvis_rotation(body: Body, joint_names: Sequence[str]) -> NDArray[np.float64]:
    """The body's axes, in the frame that its joints are in.

    They are the estimator's rotation of the pelvis, or, where it gives none, computed from hips
    and neck.

    Returns:
        (3, 3), columns: to the body's left, up its spine, to its front.
    """
    if body.rotations is not None:
        return body.rotations[0].astype(np.float64)
    pelvis, neck, left, right = (
        body.joints[joint_names.index(name)].astype(np.float64)
        for name in ("pelvis", "neck", "left_hip", "right_hip")
    )
    x = _unit(left - right, (1.0, 0.0, 0.0))
    up = neck - pelvis
    y = _unit(up - x * (up @ x), (0.0, 1.0, 0.0))
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _human(
    human: Human,
    joint_names: Sequence[str],
    camera: Camera,
    with_vertices: bool,
    camera_pose: Transform | None,
) -> HumanMessage:
    body = human.body
    message = HumanMessage(
        track_id=human.person.track_id,
        score=float(human.person.score),
        region=_region(human.person.box, camera),
        joints=_points(body.joints),
        joint_velocities=[
            Vector3(x=x, y=y, z=z) for x, y, z in human.joint_velocities.astype(float).tolist()
        ],
        joint_scores=_floats(body.joint_scores),
        metric_depth=body.metric_depth,
        measured_depth=body.measured_depth,
        window_fill=float(human.window_fill),
    )
    pose = message.pose.pose
    pose.position = message.joints[joint_names.index("pelvis")]
    x, y, z, w = Rotation.from_matrix(pelvis_rotation(body, joint_names)).as_quat().tolist()
    pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
    message.pose.covariance = _covariance(body, joint_names, camera_pose)
    if with_vertices and body.vertices is not None:
        message.vertices = _floats(body.vertices)
    if body.rotations is not None:
        message.body_pose = _floats(Rotation.from_matrix(body.rotations[1:]).as_rotvec())
    if body.betas is not None:
        message.betas = _floats(body.betas)
    return message


def _covariance(
    body: Body, joint_names: Sequence[str], camera_pose: Transform | None
) -> NDArray[np.float64]:
    """The covariance of position and rotation, (36,), as PoseWithCovariance orders it."""
    pelvis = body.joints[joint_names.index("pelvis")]
    from_camera = pelvis if camera_pose is None else pelvis - camera_pose.translation
    distance = float(np.linalg.norm(from_camera))
    score = float(np.clip(body.joint_scores.mean(), 0.05, 0.99))
    odds = score / (1.0 - score)  # of a joint being right
    growth = max(USUAL_SCORE / (1.0 - USUAL_SCORE) / odds, 1.0)
    sideways = growth * (SIDEWAYS_FRACTION * distance) ** 2
    fraction = DEPTH_FRACTION if body.metric_depth else ASSUMED_DEPTH_FRACTION
    along = growth * (fraction * distance) ** 2
    if body.measured_depth:
        along = (MEASURED_METRES + MEASURED_FRACTION * distance) ** 2
    orientation = ORIENTATION_RADIANS**2 / odds
    covariance = np.diag([sideways, sideways, along, orientation, orientation, orientation])
    if camera_pose is not None:
        rotation = camera_pose.rotation
        covariance[:3, :3] = rotation @ covariance[:3, :3] @ rotation.T
    return covariance.ravel()


def _region(box: FloatArray, camera: Camera) -> RegionOfInterest:
    """The part of the box that lies in the image."""
    x0, x1 = np.clip([box[0], box[2]], 0, camera.width).round().astype(int).tolist()
    y0, y1 = np.clip([box[1], box[3]], 0, camera.height).round().astype(int).tolist()
    return RegionOfInterest(x_offset=x0, y_offset=y0, width=max(x1 - x0, 0), height=max(y1 - y0, 0))


def _points(positions: FloatArray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in positions.astype(float).tolist()]


def _floats(values: NDArray[np.floating]) -> array[float]:
    # rclpy copies a numpy array element by element, but an array.array as a block of memory.
    return array("f", np.ascontiguousarray(values, np.float32).tobytes())


def _unit(vector: NDArray[np.float64], otherwise: Sequence[float]) -> NDArray[np.float64]:
    """The vector scaled to length 1, or `otherwise` if it is too short to have a direction."""
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else np.asarray(otherwise)


def _indices(values: NDArray[np.integer]) -> array[int]:
    return array("I", np.ascontiguousarray(values, np.uint32).tobytes())
