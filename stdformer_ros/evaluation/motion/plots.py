"""Pictures of `cli evaluate --motion --plots DIR`: errors over time, calibration, worst frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.evaluation.calibration import Reliability
from stdformer_ros.evaluation.line_chart import BLUE, GRAY, ORANGE, Line, draw_chart
from stdformer_ros.evaluation.motion.evaluate import SceneResult, true_vertices
from stdformer_ros.evaluation.motion.worst_frames import BadFrame, WorstFrames
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.types import ImageArray

SECONDS = 1 / 30


class MotionPlots:
    """Collects what is drawn, and draws it when all clips are known.

    Args:
        folder: made if it is missing.
        estimator: who answered.
        body: the embedded body at the level of its mesh, None if it has another or none.
    """

    def __init__(self, folder: Path, estimator: Estimator, body: BodyModel | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._estimator = estimator
        self._body = body
        self._charts: list[tuple[float, str, ImageArray]] = []
        self._worst = WorstFrames(estimator.skeleton, estimator.faces)

    def add(self, results: list[SceneResult]) -> None:
        """All scenes of one clip."""
        mean = float(np.concatenate([r.errors.mpjpe for r in results]).mean())
        self._charts.append((mean, results[0].scene.clip, _chart(results)))
        for number, result in enumerate(results):
            for frame in self._worst.candidates(result.errors.mpjpe):
                self._worst.add(self._bad_frame(result, number, frame))

    def save(self, reliability: dict[str, Reliability]) -> None:
        """Write all pictures: a chart for each clip, worst first, and two for all of them."""
        ordered = sorted(self._charts, key=lambda chart: -chart[0])
        digits = len(str(len(ordered)))
        for rank, (_, clip, picture) in enumerate(ordered, 1):
            _save(self._folder / f"{rank:0{digits}}_{clip}.png", picture)
        _save(self._folder / "worst_frames.png", self._worst.draw())
        _save(self._folder / "reliability.png", reliability_chart(reliability))

    def _bad_frame(self, result: SceneResult, camera: int, frame: int) -> BadFrame:
        scene, body = result.scene, result.bodies[frame]
        names = self._estimator.joint_names
        pelvis = scene.joints[frame, 0].numpy()
        vertices = None
        if self._body is not None:
            vertices = true_vertices(self._body, scene, slice(frame, frame + 1))[0] + pelvis
        return BadFrame(
            float(result.errors.mpjpe[frame]),
            f"{scene.clip}, camera {camera + 1}, frame {frame}",
            scene.camera,
            scene.joints[frame].numpy(),
            vertices,
            body.joints + (pelvis - body.joints[names.index("pelvis")]),
            None
            if body.vertices is None
            else body.vertices + (pelvis - body.joints[names.index("pelvis")]),
            result.seen[frame].landmarks[list(BLAZEPOSE_INDEX)],
            result.seen[frame].visibility[list(BLAZEPOSE_INDEX)],
        )


def reliability_chart(reliability: dict[str, Reliability]) -> ImageArray:
    """How often joints of a score were right, against the score."""
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
        y_title="part within 100 mm",
        x_limits=(0.0, 1.0),
        y_limits=(0.0, 1.0),
        size=(480, 420),
    )


def _chart(results: list[SceneResult]) -> ImageArray:
    """MPJPE over time, a panel for each camera."""
    panels = []
    for number, result in enumerate(results):
        ours, lifted = result.errors, result.baseline
        seconds = SECONDS * np.arange(len(ours.mpjpe))
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
                x_limits=(0.0, max(float(seconds[-1]), SECONDS)),
                y_limits=(0.0, highest),
            )
        )
    return np.concatenate(panels)


def _save(path: Path, picture: ImageArray) -> None:
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {path}")
