"""The data that flows through the package, in the order in which it flows.

Coordinates are those of the camera's optical frame (x right, y down, z forward) in metres; pixels
have their origin at the centre of the upper left pixel; times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.camera.depth import DepthImage
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.camera.turning import turned_image

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """One image of one camera.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        stamp: seconds, the time of exposure.
        camera: the intrinsics that belong to this image's size.
        depth: a depth image that is aligned to the image; None without a depth camera.
        source: where the image comes from, such as the header of its message. Only the code that
            made the frame reads it, when the frame comes back in an `Answer`.
        discontinuous: True if the frame does not continue the previous ones: the clock was set
            back, or the image has another size or other intrinsics. State from the previous frames
            is then invalid.
        turn: degrees by which the image was turned clockwise after it was taken, so that it is
            upright.
    """

    image: ImageArray
    stamp: float
    camera: Camera
    depth: DepthImage | None = None
    source: object = None
    discontinuous: bool = False
    turn: int = 0

    def turned(self, degrees: int) -> Frame:
        """The frame with image, depth and camera turned clockwise by a multiple of 90 degrees."""
        if degrees % 360 == 0:
            return self
        return replace(
            self,
            image=turned_image(self.image, degrees),
            camera=self.camera.turned(degrees),
            depth=None if self.depth is None else self.depth.turned(degrees),
            turn=(self.turn + degrees) % 360,
        )


@dataclass(frozen=True)
class Person:
    """One tracked person of one frame, as perception sees them.

    Attributes:
        track_id: identity in this run; never given to anybody else.
        score: 0..1, the confidence that this is a person.
        box: (4,) x0, y0, x1, y1 in pixels.
        landmarks: (33, 2) BlazePose landmarks in pixels, raw (not undistorted).
        visibility: (33,) 0..1, the probability that the landmark is in the image and not hidden.
        world_landmarks: (33, 3) BlazePose's own 3D estimate: metres along the camera's axes, the
            middle of the hips at the origin; None if unknown.
        torso_depth: metres along the optical axis to the visible surface of the torso, measured by
            a depth image; NaN where there is none.
    """

    track_id: int
    score: float
    box: FloatArray
    landmarks: FloatArray
    visibility: FloatArray
    world_landmarks: FloatArray | None = None
    torso_depth: float = nan


@dataclass(frozen=True)
class Body:
    """The estimator's answer for one person.

    Attributes:
        joints: (J, 3) metres, camera frame, in the order of the estimator's `joint_names`.
        joint_scores: (J,) 0..1.
        vertices: (V, 3) metres, camera frame, or None where the estimator gives no mesh.
        rotations: (24, 3, 3) of SMPL's joints, the first one that of the pelvis in the camera
            frame, the others relative to their parents; None where the estimator gives none.
        betas: (10,) shape parameters, or None.
        metric_depth: True if the distance is based on known intrinsics or a depth image, False if
            the field of view was assumed.
        measured_depth: True if a depth image has measured the distance.
    """

    joints: FloatArray
    joint_scores: FloatArray
    vertices: FloatArray | None
    rotations: FloatArray | None
    betas: FloatArray | None
    metric_depth: bool
    measured_depth: bool = False


@dataclass(frozen=True)
class Human:
    """The pipeline's output for one person in one frame.

    Attributes:
        person: the identity, and what perception found in the image.
        body: joints and mesh.
        joint_velocities: (J, 3) m/s, camera frame; zero in a person's first frame.
        window_fill: 0..1, the fraction of the estimator's window that holds real frames.
    """

    person: Person
    body: Body
    joint_velocities: FloatArray
    window_fill: float


@dataclass(frozen=True)
class Answer:
    """All people in one frame. With a delay this is a frame before the newest one.

    Attributes:
        frame: the frame that the answer is for, as it was given to the pipeline.
        humans: in the order in which perception gave the people.
    """

    frame: Frame
    humans: list[Human]
