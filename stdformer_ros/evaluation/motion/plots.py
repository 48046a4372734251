"""Pictures of `cli evaluate --motion --plots DIR`.

`MotionPlots` writes a chart of the errors over time for each clip, the reliability diagram of the
joint scores, and the worst frames. `WorstFrames` keeps the frames with the largest errors and draws
truth and answer from the camera and from the side.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import BONES
from stdformer_ros.camera.pinhole import Camera
from stdformer_ros.evaluation.line_chart import BLUE, GRAY, ORANGE, Line, draw_chart
from stdformer_ros.evaluation.motion.errors import SceneResult
from stdformer_ros.evaluation.motion.evaluate import true_vertices
from stdformer_ros.evaluation.motion.scenes import FRAME_SECONDS
from stdformer_ros.evaluation.summaries import Reliability
from stdformer_ros.io.overlay import Figure, draw_overlay, draw_side_view
from stdformer_ros.io.pictures import write_png
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.types import FloatArray, ImageArray

COUNT = 10
"""Worst frames that are kept."""
APART = 30
"""Smallest distance of two kept frames of a scene, in frames: one bad second must not fill the
picture."""
COLUMNS = 2
VIEW = (230, 330)
"""Width and height of one view in pixels."""
_TRUE, _ANSWER = 2, 0
"""Colours of `track_color`."""
_VISIBLE_COLOR, _LOST_COLOR = (230, 60, 60), (160, 160, 160)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class MotionPlots:
    """Collects the results of clips, and writes the pictures when all clips are known.

    Args:
        folder: for the pictures; it is created if it does not exist.
        estimator: the one that is evaluated.
        body: the embedded body at the level of its mesh; None if it has another mesh or none.
    """

    def __init__(self, folder: Path, estimator: Estimator, body: BodyModel | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._estimator = estimator
        self._body = body
        self._charts: list[tuple[float, str, ImageArray]] = []
        self._worst = WorstFrames(estimator.skeleton, estimator.faces)

    def add(self, results: list[SceneResult]) -> None:
        """Add all scenes of one clip."""
        mean = float(np.concatenate([r.errors.mpjpe for r in results]).mean())
        self._charts.append((mean, results[0].scene.clip, _chart(results)))
        for number, result in enumerate(results):
            for frame in self._worst.candidates(result.errors.mpjpe):
                self._worst.add(self._bad_frame(result, number, frame))

    def save(self, reliability: dict[str, Reliability]) -> None:
        """Write a chart for each clip, numbered from the worst, and two pictures of all clips."""
        ordered = sorted(self._charts, key=lambda chart: -chart[0])
        digits = len(str(len(ordered)))
        for rank, (_, clip, picture) in enumerate(ordered, 1):
            write_png(self._folder / f"{rank:0{digits}}_{clip}.png", picture)
        write_png(self._folder / "worst_frames.png", self._worst.draw())
        write_png(self._folder / "reliability.png", reliability_chart(reliability))

    def _bad_frame(self, result: SceneResult, camera: int, frame: int) -> BadFrame:
        scene, body = result.scene, result.bodies[frame]
        pelvis = scene.joints[frame, 0].numpy()
        shift = pelvis - body.joints[self._estimator.joint_names.index("pelvis")]
        vertices = None
        if self._body is not None:
            vertices = true_vertices(self._body, scene, slice(frame, frame + 1))[0] + pelvis
        return BadFrame(
            float(result.errors.mpjpe[frame]),
            f"{scene.clip}, camera {camera + 1}, frame {frame}",
            scene.camera,
            scene.joints[frame].numpy(),
            vertices,
            body.joints + shift,
            None if body.vertices is None else body.vertices + shift,
            result.people[frame].landmarks[list(BLAZEPOSE_INDEX)],
            result.people[frame].visibility[list(BLAZEPOSE_INDEX)],
        )


def reliability_chart(reliability: dict[str, Reliability]) -> ImageArray:
    """Reliability diagram: the fraction of joints that were right, by their score."""
    lines = [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), GRAY, "")]
    for name, color in (("all", BLUE), ("hidden", ORANGE)):
        bins, error = reliability[name].bins(), reliability[name].error
        if error is not None:
            x, y = (np.array([b[key] for b in bins]) for key in ("score", "right"))
            lines.append(Line(x, y, color, f"{name} (error {error:.3f})"))
    return draw_chart(
        lines,
        title="joint scores",
        x_title="score",
        y_title="fraction within 100 mm",
        x_limits=(0.0, 1.0),
        y_limits=(0.0, 1.0),
        size=(480, 420),
    )


def _chart(results: list[SceneResult]) -> ImageArray:
    """MPJPE over time, one panel for each camera."""
    panels = []
    for number, result in enumerate(results):
        ours, lifted = result.errors, result.baseline
        seconds = FRAME_SECONDS * np.arange(len(ours.mpjpe))
        highest = max(1.05 * float(ours.mpjpe.max()), float(np.quantile(lifted.mpjpe, 0.98)), 100.0)
        panels.append(
            draw_chart(
                [
                    Line(seconds, lifted.mpjpe[: len(seconds)], ORANGE, "lifted landmarks"),
                    Line(seconds, ours.mpjpe, BLUE, "estimator"),
                ],
                title=f"{result.scene.clip}, camera {number + 1}: MPJPE {ours.mpjpe.mean():.0f} mm "
                f"(lifted {lifted.mpjpe.mean():.0f}), Accel {np.nanmean(ours.accel):.1f}"
                if len(seconds) > 2
                else result.scene.clip,
                x_title="seconds",
                y_title="mm",
                x_limits=(0.0, max(float(seconds[-1]), FRAME_SECONDS)),
                y_limits=(0.0, highest),
            )
        )
    return np.concatenate(panels)


@dataclass(frozen=True)
class BadFrame:
    """One answer and the truth in camera coordinates; the answer is moved to the true pelvis.

    Attributes:
        error: MPJPE, mm.
        label: says which frame it is.
        camera: of the image.
        true_joints: (24, 3) metres.
        true_vertices: (V, 3) metres; None if the answer's mesh has another topology.
        joints: (J, 3) of the answer, metres.
        vertices: (V, 3) of the answer, metres; None without a mesh.
        landmarks: (21, 2) pixels, the estimator's input.
        visibility: (21,) of the landmarks.
    """

    error: float
    label: str
    camera: Camera
    true_joints: FloatArray
    true_vertices: FloatArray | None
    joints: FloatArray
    vertices: FloatArray | None
    landmarks: FloatArray
    visibility: FloatArray


class WorstFrames:
    """Keeps the `COUNT` worst of many frames.

    Args:
        skeleton: of the answers' joints.
        faces: of the answers' mesh, or None.
    """

    def __init__(
        self,
        skeleton: Sequence[tuple[int, int]],
        faces: NDArray[np.int32] | None,
    ) -> None:
        self._skeleton = skeleton
        self._faces = faces
        self._kept: list[tuple[float, int, BadFrame]] = []
        self._added = 0

    def candidates(self, errors: NDArray[np.floating]) -> list[int]:
        """The frames of a scene with errors (N,) above those kept, `APART` or more frames apart."""
        remaining, found = errors.copy(), list[int]()
        limit = self._kept[0][0] if len(self._kept) == COUNT else -np.inf
        while len(found) < COUNT and remaining.max() > limit:
            frame = int(remaining.argmax())
            found.append(frame)
            remaining[max(frame - APART, 0) : frame + APART + 1] = -np.inf
        return found

    def add(self, frame: BadFrame) -> None:
        """Keep the frame if it is one of the worst."""
        self._added += 1
        heapq.heappush(self._kept, (frame.error, self._added, frame))
        if len(self._kept) > COUNT:
            heapq.heappop(self._kept)

    def draw(self) -> ImageArray:
        """RGB picture of the frames, worst first: truth and answer, from camera and side."""
        frames = [frame for _, _, frame in sorted(self._kept, key=lambda kept: -kept[0])]
        cells = [self._cell(frame) for frame in frames]
        cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
        rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
        return np.vstack(rows)

    def _cell(self, frame: BadFrame) -> ImageArray:
        true = Figure(_TRUE, frame.true_joints, frame.true_vertices)
        answer = Figure(_ANSWER, frame.joints, frame.vertices)
        camera = _fitted_camera(frame)
        views = []
        for figure, skeleton in ((true, BONES), (answer, self._skeleton)):
            faces = self._faces if figure.vertices is not None else None
            front = draw_overlay(_blank(), [figure], camera, faces, skeleton, labels=False)
            _draw_landmarks(front, frame, camera)
            side = draw_side_view([figure], faces, skeleton, VIEW, labels=False)
            views.append((front, side))
        (true_front, true_side), (front, side) = views
        pictures = np.hstack([true_front, front, true_side, side])
        header = np.full((44, pictures.shape[1], 3), 255, np.uint8)
        _write(header, f"{frame.error:.0f} mm: {frame.label}", (8, 17), 0.5)
        for column, title in enumerate(("truth", "answer", "truth, side", "answer, side")):
            _write(header, title, (8 + column * VIEW[0], 37), 0.42)
        return np.pad(np.vstack([header, pictures]), ((0, 6), (0, 10), (0, 0)), constant_values=255)


def _fitted_camera(frame: BadFrame) -> Camera:
    """The camera, cropped and scaled so that truth, answer and landmarks fill a view."""
    bodies = np.concatenate([frame.true_joints, frame.joints])
    points = np.concatenate([frame.camera.project(bodies), frame.landmarks[frame.visibility > 0]])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float(0.86 * min(np.array(VIEW) / np.maximum(high - low, 1.0)))
    centre = 0.5 * (low + high)
    return Camera(
        *VIEW,
        scale * frame.camera.fx,
        scale * frame.camera.fy,
        float(0.5 * VIEW[0] + scale * (frame.camera.cx - centre[0])),
        float(0.5 * VIEW[1] + scale * (frame.camera.cy - centre[1])),
    )


def _blank() -> ImageArray:
    return np.full((VIEW[1], VIEW[0], 3), 245, np.uint8)


def _draw_landmarks(canvas: ImageArray, frame: BadFrame, camera: Camera) -> None:
    """The estimator's input: visible landmarks in red, lost ones in gray."""
    rays = frame.camera.rays(frame.landmarks)
    pixels = rays * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    for point, visibility in zip(
        pixels.round().astype(int).tolist(), frame.visibility, strict=True
    ):
        color = _VISIBLE_COLOR if visibility > 0 else _LOST_COLOR
        cv2.circle(canvas, point, 3, color, -1, cv2.LINE_AA)


def _write(canvas: ImageArray, text: str, place: tuple[int, int], scale: float) -> None:
    cv2.putText(canvas, text, place, _FONT, scale, (50, 50, 50), 1, cv2.LINE_AA)
