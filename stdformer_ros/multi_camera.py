"""Several cameras around one estimator: people and windows per camera, one batch for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from stdformer_ros.config import PipelineSettings
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.perception import PeopleTracker
from stdformer_ros.pipeline import Pipeline, Seen, answer, build_pipeline
from stdformer_ros.postprocess.one_euro import OneEuro
from stdformer_ros.quality import Quality
from stdformer_ros.types import Frame, Human


class Rig:
    """A pipeline for each camera; all share one estimator, whose batch is over all of them.

    Identities belong to a camera: two cameras that see one person give them two.

    Args:
        pipelines: by the camera's name.

    Raises:
        ValueError: if there is no pipeline, or they do not share one estimator.
    """

    def __init__(self, pipelines: Mapping[str, Pipeline]) -> None:
        if len({id(pipeline.estimator) for pipeline in pipelines.values()}) != 1:
            raise ValueError("a rig needs at least one camera, and one estimator for all of them")
        self._pipelines = dict(pipelines)
        self.estimator: Estimator = next(iter(self._pipelines.values())).estimator
        self._device = self.estimator.device

    def see(self, camera: str, frame: Frame) -> Seen:
        """Who is in a camera's next frame."""
        return self._pipelines[camera].see(frame)

    def answer(self, seen: Mapping[str, Seen]) -> dict[str, list[Human]]:
        """The people of the frames that are answered for now, by camera; see `answered`."""
        humans = answer([(self._pipelines[camera], frame) for camera, frame in seen.items()])
        return dict(zip(seen, humans, strict=True))

    def answered(self, camera: str) -> Frame | None:
        """The frame that a camera's last answer was for; None if there was none yet."""
        return self._pipelines[camera].answered

    def use_quality(self, quality: Quality) -> None:
        """Go on in another quality on all cameras, see `Pipeline.use_quality`."""
        for pipeline in self._pipelines.values():
            pipeline.use_quality(quality)

    def use_filter(self, one_euro: OneEuro | None) -> None:
        """Filter the answers of all cameras otherwise, see `Pipeline.use_filter`."""
        for pipeline in self._pipelines.values():
            pipeline.use_filter(one_euro)

    def reset(self, camera: str) -> None:
        """Forget a camera's windows, not the identities."""
        self._pipelines[camera].reset()

    def forget(self) -> None:
        """Forget everybody. Identities go on counting: none is given twice."""
        for pipeline in self._pipelines.values():
            pipeline.forget()

    @property
    def velocity_seconds(self) -> float:
        """Time constant of the low-pass over joint velocities."""
        return next(iter(self._pipelines.values())).velocity_seconds

    @velocity_seconds.setter
    def velocity_seconds(self, seconds: float) -> None:
        for pipeline in self._pipelines.values():
            pipeline.velocity_seconds = seconds

    def rest(self) -> None:
        """Free the estimator's device until `resume`."""
        self.forget()
        if self._device.type != "cpu":
            self.estimator.move_to(torch.device("cpu"))
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def resume(self) -> None:
        """Be ready again on the estimator's device."""
        if self._device.type != "cpu":
            self.estimator.move_to(self._device)


def build_rig(cameras: Sequence[str], settings: PipelineSettings) -> Rig:
    """A rig ready to run; the cameras share all networks.

    Args:
        cameras: their names, at least one.
        settings: of each camera's pipeline and of the estimator that they share.

    Raises:
        ValueError, FileNotFoundError: see `build_pipeline`.
    """
    first = build_pipeline(settings)
    assert isinstance(first.perception, PeopleTracker)
    pipelines = {cameras[0]: first}
    for camera in cameras[1:]:
        pipelines[camera] = Pipeline(
            first.perception.sibling(),
            first.estimator,
            first.make_smoother,
            first.make_corrector,
        )
        pipelines[camera].use_filter(first.one_euro)
    return Rig(pipelines)
