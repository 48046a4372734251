"""Postprocessing of one person's bodies after the estimator.

The steps of a `BodyPostprocessor`, in this order:

1. a correction towards the landmarks, if the estimator allows it (see `reprojection`),
2. smoothing: `SizeSmoother`, `DistanceSmoother` and, if the user wants it, the 1 euro filter
   `OneEuroBodyFilter`; together they are the `BodySmoother`,
3. the distance that a depth image has measured (see `body_distance`),
4. the joints' velocities, `JointVelocities`.

Every step is causal and has state that begins with the person's window: the result depends only on
the person's frames since then and on their stamps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.config import PipelineSettings
from stdformer_ros.postprocess.body_distance import MeasuredDistance
from stdformer_ros.types import Body, FloatArray, Person

Corrector = Callable[[Body, Person, Camera, float], Body]
"""The first step, for one person: from a body, the person as perception saw them, the camera, and
the seconds since the previous body to the corrected body."""
Smoother = Callable[[Body, float], Body]
"""The second step, for one person: from a body and its stamp (seconds) to the smoothed body. Calls
are in the order of the stamps."""

SIZE_SECONDS = 3.0
"""Time constant of the low-pass over a person's size and shape, which begins as their mean."""
DISTANCE_SECONDS = 0.3
"""Time constant of the filter over a person's distance and its velocity."""
FAR = 6.0
"""Metres; beyond this that time constant grows with the distance, as a pixel's error does."""
SPEED_CUTOFF = 1.0
"""Cutoff in Hz of the 1 euro filter's low-pass over speeds, as published."""
CHORD_METRES = 0.2
"""The 1 euro filter treats rotations as points at this distance from the joint, since it needs
speeds in metres per second."""
VELOCITY_SECONDS = 0.1
"""Default time constant of the low-pass over joint velocities, which differences make noisy."""

_LIMBS = tuple(
    (f"{side}_{start}", f"{side}_{end}")
    for side in ("left", "right")
    for start, end in (
        ("hip", "knee"),
        ("knee", "ankle"),
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
    )
)


class SizeSmoother:
    """Scales one person's bodies about the camera to the mean size in the previous frames.

    A person's size does not change. One camera cannot tell a tall person far away from a short one
    nearby, so that estimated size and distance jitter together, more than all other estimates.
    Scaling about the camera does not move any point in the image.

    Args:
        joint_names: of the bodies.
    """

    def __init__(self, joint_names: Sequence[str]) -> None:
        present = [limb for limb in _LIMBS if set(limb) <= set(joint_names)]
        self._starts = [joint_names.index(start) for start, _ in present]
        self._ends = [joint_names.index(end) for _, end in present]
        self._weight = 0.0  # sum of the weights of all previous sizes
        self._log_size = 0.0
        self._betas: FloatArray | None = None

    def __call__(self, body: Body, seconds: float) -> Body:
        """The scaled body, `seconds` after the previous one (any number for the first)."""
        length = self._limb_length(body)
        if length <= 0.0:
            return body  # no limbs that could be measured
        # old sizes fade: in the first frames this is their mean, later a low-pass
        self._weight = self._weight * exp(-max(seconds, 0.0) / SIZE_SECONDS) + 1.0
        gain = 1.0 / self._weight
        self._log_size += gain * (log(length) - self._log_size)
        if body.betas is not None:
            before = body.betas if self._betas is None else self._betas
            self._betas = before + np.float32(gain) * (body.betas - before)
        scale = np.float32(exp(self._log_size) / length)
        return replace(
            body,
            joints=body.joints * scale,
            vertices=None if body.vertices is None else body.vertices * scale,
            betas=self._betas if body.betas is not None else None,
        )

    def _limb_length(self, body: Body) -> float:
        """The length of all arms and legs together, metres."""
        limbs = body.joints[self._ends] - body.joints[self._starts]
        return float(np.linalg.norm(limbs, axis=1).sum())


class DistanceSmoother:
    """Smooths one person's distance; positions across the line of sight do not change.

    A critically damped g-h filter (the fading-memory polynomial filter of degree one: Morrison,
    "Introduction to Sequential Smoothing and Prediction", 1969). It predicts that the person keeps
    their velocity, so that there is no lag when a person comes nearer.

    Args:
        pelvis: index of the pelvis among the joints.
    """

    def __init__(self, pelvis: int) -> None:
        self._pelvis = pelvis
        self._count = 0
        self._distance = 0.0
        self._speed = 0.0

    def __call__(self, body: Body, seconds: float) -> Body:
        """The smoothed body, `seconds` after the previous one (any number for the first)."""
        pelvis = body.joints[self._pelvis].astype(np.float64)
        distance = float(np.linalg.norm(pelvis))
        if distance <= 0.0:
            return body  # a person at the camera has no line of sight
        self._update(distance, seconds)
        shift = ((self._distance / distance - 1.0) * pelvis).astype(np.float32)
        return replace(
            body,
            joints=body.joints + shift,
            vertices=None if body.vertices is None else body.vertices + shift,
        )

    def _update(self, distance: float, seconds: float) -> None:
        if self._count == 0:
            self._count, self._distance = 1, distance
            return
        if seconds <= 0.0:
            return
        self._count += 1
        n = self._count
        fade = exp(-seconds / (DISTANCE_SECONDS * max(self._distance / FAR, 1.0)))
        # in the first frames the gains are larger: those of a straight line fitted to all n frames
        gain = max(1.0 - fade**2, 2.0 * (2 * n - 1) / (n * (n + 1)))
        speed_gain = max((1.0 - fade) ** 2, 6.0 / (n * (n + 1)))
        predicted = self._distance + self._speed * seconds
        self._distance = predicted + min(gain, 1.0) * (distance - predicted)
        self._speed += min(speed_gain, 1.0) * (distance - predicted) / seconds


@dataclass(frozen=True)
class OneEuro:
    """Settings of the 1 euro filter: Casiez, Roussel, Vogel, "1 Euro Filter: A Simple Speed-based
    Low-pass Filter for Noisy Input in Interactive Systems", CHI 2012.

    Slow motion is smoothed much, so that it does not jitter; fast motion little, so that it does
    not lag.

    Attributes:
        min_cutoff: cutoff in Hz for points that do not move; lower is smoother.
        beta: Hz by which the cutoff rises per metre per second; higher lags less.

    Raises:
        ValueError: if a number is out of range.
    """

    min_cutoff: float
    beta: float

    def __post_init__(self) -> None:
        if not 0.0 < self.min_cutoff < np.inf or not 0.0 <= self.beta < np.inf:
            raise ValueError(
                f"the filter needs min_cutoff over 0 Hz and beta from 0, not "
                f"{self.min_cutoff} and {self.beta}"
            )


def one_euro_filter(settings: PipelineSettings) -> OneEuro | None:
    """The filter that these settings ask for; None if they ask for none (a cutoff of 0 Hz)."""
    if settings.filter_min_cutoff == 0.0:
        return None
    return OneEuro(settings.filter_min_cutoff, settings.filter_beta)


class OneEuroFilter:
    """The 1 euro filter over points (N, C), each of which has its own speed."""

    def __init__(self, settings: OneEuro) -> None:
        self.settings = settings
        self._points: NDArray[np.floating] | None = None
        self._velocity: NDArray[np.floating] | None = None

    def __call__(self, points: NDArray[np.floating], seconds: float) -> NDArray[np.floating]:
        """The smoothed points (N, C).

        Args:
            points: (N, C) of the next frame. If N changes, the filter restarts.
            seconds: since the previous frame; if 0 or less, the last result is repeated.
        """
        before, velocity = self._points, self._velocity
        if before is None or velocity is None or before.shape != points.shape:
            self._points, self._velocity = points, np.zeros_like(points)
            return points
        if seconds <= 0.0:
            return before
        newest = (points - before) / seconds
        velocity = velocity + _gain(SPEED_CUTOFF, seconds) * (newest - velocity)
        speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
        cutoff = self.settings.min_cutoff + self.settings.beta * speed
        smooth = before + _gain(cutoff, seconds) * (points - before)
        self._points, self._velocity = smooth, velocity
        return smooth


class OneEuroBodyFilter:
    """Filters one person's bodies: the pelvis' position, and the rest relative to the pelvis.

    Args:
        settings: of the filter.
        pelvis: index of the pelvis among the joints.
    """

    def __init__(self, settings: OneEuro, pelvis: int) -> None:
        self._pelvis = pelvis
        self._position = OneEuroFilter(settings)
        self._joints = OneEuroFilter(settings)
        self._vertices = OneEuroFilter(settings)
        self._rotations = OneEuroFilter(settings)

    def use(self, settings: OneEuro) -> None:
        """Change the settings; the filters keep their state."""
        for one in (self._position, self._joints, self._vertices, self._rotations):
            one.settings = settings

    def __call__(self, body: Body, seconds: float) -> Body:
        """The smoothed body, `seconds` after the previous one (any number for the first)."""
        pelvis = body.joints[self._pelvis : self._pelvis + 1]
        position = self._position(pelvis, seconds)
        vertices, rotations = body.vertices, body.rotations
        if vertices is not None:
            vertices = _float32(self._vertices(vertices - pelvis, seconds) + position)
        if rotations is not None:
            chords = self._rotations(CHORD_METRES * rotations.reshape(-1, 9), seconds)
            rotations = _nearest_rotations(chords.reshape(rotations.shape))
        return replace(
            body,
            joints=_float32(self._joints(body.joints - pelvis, seconds) + position),
            vertices=vertices,
            rotations=rotations,
        )


class BodySmoother:
    """Smooths size and distance of one person's bodies, then applies the 1 euro filter if wanted.

    It is not a part of the estimators, because an estimator's result depends only on one window,
    but the result here depends on all of the person's frames since the first one.

    Args:
        joint_names: of the bodies.
        one_euro: the filter's settings; None for no filter.
    """

    def __init__(self, joint_names: Sequence[str], one_euro: OneEuro | None = None) -> None:
        self._pelvis = joint_names.index("pelvis")
        self._size = SizeSmoother(joint_names)
        self._distance = DistanceSmoother(self._pelvis)
        self._filter: OneEuroBodyFilter | None = None
        self._stamp: float | None = None
        self.use_filter(one_euro)

    def use_filter(self, one_euro: OneEuro | None) -> None:
        """Change the filter from the next body on; None for no filter."""
        if one_euro is None:
            self._filter = None
        elif self._filter is None:
            self._filter = OneEuroBodyFilter(one_euro, self._pelvis)
        else:
            self._filter.use(one_euro)

    def __call__(self, body: Body, stamp: float) -> Body:
        """The smoothed body of the frame with this stamp (seconds)."""
        seconds = 0.0 if self._stamp is None else stamp - self._stamp
        self._stamp = stamp
        body = self._distance(self._size(body, seconds), seconds)
        return body if self._filter is None else self._filter(body, seconds)


@runtime_checkable
class FilteringSmoother(Protocol):
    """A smoother whose filter can change while the stream runs, like `BodySmoother`."""

    def use_filter(self, one_euro: OneEuro | None) -> None:
        """Change the filter from the next body on; None for no filter."""


class JointVelocities:
    """One person's joint velocities: differences from frame to frame, low-pass filtered."""

    def __init__(self) -> None:
        self._joints: FloatArray | None = None
        self._velocities: FloatArray | None = None

    def __call__(self, joints: FloatArray, seconds: float, time_constant: float) -> FloatArray:
        """The velocities (J, 3) in metres per second, camera frame; 0 for the first frame.

        Args:
            joints: (J, 3) metres, camera frame.
            seconds: since the previous frame; if 0 or less, the last velocities are repeated.
            time_constant: of the low-pass, seconds.
        """
        if self._joints is None or self._velocities is None:
            self._velocities = np.zeros_like(joints)
        elif seconds > 0:
            newest = (joints - self._joints) / seconds
            gain = seconds / (time_constant + seconds)
            self._velocities = self._velocities + gain * (newest - self._velocities)
        self._joints = joints
        return self._velocities.astype(np.float32)


class BodyPostprocessor:
    """All steps for one person's bodies after the estimator; see the top of the file.

    Args:
        joint_names: of the bodies.
        corrector: the first step; None to leave it out.
        smoother: the second step; None to leave it out.

    Attributes:
        velocity_seconds: time constant of the low-pass over joint velocities.
    """

    def __init__(
        self,
        joint_names: Sequence[str],
        corrector: Corrector | None = None,
        smoother: Smoother | None = None,
    ) -> None:
        self.velocity_seconds = VELOCITY_SECONDS
        self._joint_names = joint_names
        self._corrector = corrector
        self._smoother = smoother
        self._distance = MeasuredDistance()
        self._velocities = JointVelocities()
        self._stamp = -inf

    def use_filter(self, one_euro: OneEuro | None) -> None:
        """Change the smoother's filter from the next body on, if it has one; None for no filter."""
        if isinstance(self._smoother, FilteringSmoother):
            self._smoother.use_filter(one_euro)

    def __call__(
        self, body: Body, person: Person, camera: Camera, stamp: float
    ) -> tuple[Body, FloatArray]:
        """The next body and its joints' velocities (J, 3), metres per second.

        Args:
            body: as estimated.
            person: the person as perception saw them, with the torso's measured depth if known.
            camera: the frame's camera.
            stamp: the frame's stamp, seconds.
        """
        seconds = stamp - self._stamp
        self._stamp = stamp
        if self._corrector is not None:
            body = self._corrector(body, person, camera, seconds if isfinite(seconds) else 0.0)
        if self._smoother is not None:
            body = self._smoother(body, stamp)
        body = self._distance(body, self._joint_names, person.torso_depth, stamp)
        return body, self._velocities(body.joints, seconds, self.velocity_seconds)


def _gain(cutoff: float | NDArray[np.floating], seconds: float) -> NDArray[np.floating]:
    """The weight of the newest value in a first-order low-pass with a cutoff in Hz."""
    phase = 2.0 * np.pi * np.asarray(cutoff) * seconds
    return np.asarray(phase / (phase + 1.0))


def _nearest_rotations(matrices: NDArray[np.floating]) -> FloatArray:
    """The rotations (..., 3, 3) nearest to matrices (orthogonal Procrustes)."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]
    return _float32(u @ vt)


def _float32(array: NDArray[np.floating]) -> FloatArray:
    return np.asarray(array, np.float32)
