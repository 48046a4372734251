"""Judge weights as `cli evaluate --motion` does: whole clips, its cameras, its detector's faults.

What is judged is the network's own answer, before the pipeline corrects and smooths it.

`python -m stdformer_ros.evaluation.motion.contest_judge --weights FILE --archives FOLDER`
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stdformer_ros.body.body_landmarks import BLAZEPOSE_INDEX
from stdformer_ros.body.body_model import BodyModel
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.camera.pinhole import weak_perspective_to_metres
from stdformer_ros.evaluation.motion.errors import JOINTS, FrameErrors, summary
from stdformer_ros.evaluation.motion.faulty_detector import as_people, detect
from stdformer_ros.evaluation.motion.scenes import FRAME_SECONDS, Scene, SceneMaker
from stdformer_ros.training.contest.answer import Answers, Asked, Candidate
from stdformer_ros.training.contest.candidates import load_weights
from stdformer_ros.training.contest.data import HELD_OUT, STEERING, subject_of
from stdformer_ros.training.contest.motion import read_archive
from stdformer_ros.training.contest.views import Seen, see
from stdformer_ros.training.contest.window import shipped
from stdformer_ros.training.people.retarget import BodyMotion

CHUNK = 256
"""Frames that are answered for at once."""
SETTLING, LONG = 20, 90
"""Frames after which answers have settled, and of clips that are long enough to be thinned out."""
Array = NDArray[np.float32]
_ROWS = [JOINT_NAMES.index(name) for name in JOINTS]


class Judge:
    """Errors of a candidate in scenes.

    Args:
        model: in evaluation mode.
    """

    def __init__(self, model: Candidate) -> None:
        self._model = model
        self._body = BodyModel(level=1723)

    @torch.no_grad()
    def __call__(self, scene: Scene) -> FrameErrors:
        """One clip before one camera."""
        joints, pelvis, mpvpe = self._answers(scene, slice(None))
        true = scene.joints.numpy()
        return FrameErrors.of(
            joints + pelvis[:, None],
            pelvis,
            true[:, _ROWS],
            true[:, 0],
            true_height=scene.stature,
            mpvpe=mpvpe,
        )

    @torch.no_grad()
    def at_rates(self, scene: Scene) -> dict[str, list[float]]:
        """How far answers to every n-th frame are from those to all, in mm, pelvis on pelvis."""
        every, _, _ = self._answers(scene, slice(None))
        result = {}
        for n in (2, 3):
            some, _, _ = self._answers(scene, slice(None, None, n))
            apart = 1e3 * np.linalg.norm(some - every[::n], axis=-1).mean(axis=-1)
            result[f"{30 // n}_against_30_mm"] = apart[n * SETTLING :].tolist()
        return result

    @torch.no_grad()
    def trembling(self, scene: Scene) -> dict[str, list[float]]:
        """How errors move about their mean in a scene, root mean square in mm."""
        joints, pelvis, _ = self._answers(scene, slice(None))
        true = scene.joints.numpy()
        off = (joints - (true[:, _ROWS] - true[:, :1]))[SETTLING:]
        deep = (pelvis - true[:, 0])[SETTLING:, 2]
        apart = np.linalg.norm(off - off.mean(axis=0), axis=-1)
        return {
            "joints_tremble_mm": [1e3 * float(np.sqrt(np.mean(apart**2)))],
            "pelvis_depth_trembles_mm": [1e3 * float(deep.std())],
        }

    def _answers(self, scene: Scene, taken: slice) -> tuple[Array, Array, Array]:
        """Joints (n, 14, 3) metres around the pelvis (n, 3), camera axes; vertices' errors (n,) mm.

        Args:
            scene: of frames at 30 Hz.
            taken: which of them the camera delivers.
        """
        seen = self._seen(scene, taken)
        frames = seen.rays.shape[1]
        parts = []
        for begin in range(0, frames, CHUNK):
            rows = torch.arange(begin, min(begin + CHUNK, frames))
            answers = self._model(seen, Asked(rows * 0, rows))
            parts.append(self._compared(answers, scene.rotations[taken][rows], scene.betas))
        joints, pelvis, mpvpe = (torch.cat(tensors).numpy() for tensors in zip(*parts, strict=True))
        return joints, pelvis, mpvpe

    def _seen(self, scene: Scene, taken: slice) -> Seen:
        detections = detect(scene.pixels, scene.pixel_height, scene.hidden, scene.seed)
        people, index = as_people(detections)[taken], list(BLAZEPOSE_INDEX)
        rays = scene.camera.rays(np.stack([person.landmarks[index] for person in people]))
        visibility = np.stack([person.visibility[index] for person in people])
        seconds = torch.full((1, len(rays)), FRAME_SECONDS * (taken.step or 1))
        return see(
            torch.from_numpy(rays).float()[None],
            torch.from_numpy(visibility).float()[None],
            seconds,
        )

    def _compared(
        self, answers: Answers, true: Tensor, betas: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `_answers`, of answers to frames of true rotations (n, 24, 3, 3)."""
        parameters = answers.parameters
        vertices, joints = self._body(parameters.rotations, parameters.betas)
        place = weak_perspective_to_metres(parameters.camera, answers.half_size)
        pelvis = torch.einsum("nji,nj->ni", answers.turn, place)
        true_vertices, _ = self._body(true, betas.expand(len(true), -1))
        off = vertices @ answers.turn - true_vertices
        mpvpe = 1e3 * torch.linalg.vector_norm(off, dim=-1).mean(-1)
        return joints[:, _ROWS] @ answers.turn, pelvis, mpvpe


Clips = Iterable[tuple[str, BodyMotion]]


def scenes_of(clips: Clips, seed: int = 0) -> Iterator[Scene]:
    """The scenes of `cli evaluate --motion`."""
    make = SceneMaker(seed)
    return (scene for name, clip in clips for scene in make(name, clip))


def means(found: Iterable[dict[str, list[float]]]) -> dict[str, float]:
    """Over all scenes."""
    every: dict[str, list[float]] = {}
    for values in found:
        for name, more in values.items():
            every.setdefault(name, []).extend(more)
    return {name: round(float(np.mean(values)), 2) for name, values in every.items()}


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="of Run.keep; none for those that ship")
    parser.add_argument("--archives", type=Path, required=True, help="folder of .npz motion")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_weights(options.weights) if options.weights else shipped()
    judge = Judge(model)
    clips = read_archive(options.archives / "cmu_more.npz")
    clips |= read_archive(options.archives / "cmu_again.npz")
    for title, subjects in (("held out", HELD_OUT), ("steering", STEERING)):
        chosen = [(n, c) for n, c in clips.items() if subject_of(n) in subjects]
        found = summary([judge(scene) for scene in scenes_of(chosen)])
        long = [(n, c) for n, c in chosen if len(c.root) > LONG]
        found |= means(judge.at_rates(scene) for scene in scenes_of(long))
        print(title, json.dumps(found), flush=True)
    idle = list(read_archive(options.archives / "idle.npz").items())[::5]
    short = [(n, BodyMotion(c.quaternions[:300], c.root[:300], c.frame_time)) for n, c in idle]
    print("idle", json.dumps(means(judge.trembling(s) for s in scenes_of(short))), flush=True)


if __name__ == "__main__":
    main()
