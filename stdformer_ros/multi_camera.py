"""Several cameras that share one estimator: separate people and windows, one common batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from stdformer_ros.config import PipelineSettings
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.perception import PeopleTracker
from stdformer_ros.pipeline import Pipeline, Seen, answer, build_pipeline
from stdformer_ros.postprocess.smoothing import OneEuro
from stdformer_ros.quality import Quality
from stdformer_ros.types import Answer, Frame


class MultiCameraPipeline:
    """A pipeline for each camera; all share one estimator, whose batch holds all cameras' people.

    Identities belong to a camera: a person whom two cameras see has two identities.

    Args:
        pipelines: each camera's pipeline, by the camera's name.

    Raises:
        ValueError: if there is no pipeline, or they do not share one estimator.
    """

    def __init__(self, pipelines: Mapping[str, Pipeline]) -> None:
        if len({id(pipeline.estimator) for pipeline in pipelines.values()}) != 1:
            raise ValueError("there must be at least one camera, and one estimator for all of them")
        self._pipelines = dict(pipelines)
        self.estimator: Estimator = next(iter(self._pipelines.values())).estimator
        self._device = self.estimator.device

    def see(self, camera: str, frame: Frame) -> Seen:
        """Who is in a camera's next frame."""
        return self._pipelines[camera].see(frame)

    def answer(self, seen: Mapping[str, Seen]) -> dict[str, Answer]:
        """One answer per camera.

        A camera whose delay holds back all of its frames has none, see `Pipeline.__call__`.

        Args:
            seen: by camera, the result of `see`; not every camera must have a frame.
        """
        answers = answer([(self._pipelines[camera], frame) for camera, frame in seen.items()])
        return {c: a for c, a in zip(seen, answers, strict=True) if a is not None}

    def prepare_quality(self, quality: Quality) -> None:
        """Load what a quality needs on all cameras, see `Pipeline.prepare_quality`."""
        for pipeline in self._pipelines.values():
            pipeline.prepare_quality(quality)

    def use_quality(self, quality: Quality) -> None:
        """Use another quality on all cameras, see `Pipeline.use_quality`."""
        for pipeline in self._pipelines.values():
            pipeline.use_quality(quality)

    def use_filter(self, one_euro: OneEuro | None) -> None:
        """Change the filter over the answers of all cameras, see `Pipeline.use_filter`."""
        for pipeline in self._pipelines.values():
            pipeline.use_filter(one_euro)

    def reset(self, camera: str) -> None:
        """Forget a camera's windows and unanswered frames, but not the identities."""
        self._pipelines[camera].reset()

    def forget(self) -> None:
        """Forget everybody; identities go on counting, so that none is given twice."""
        for pipeline in self._pipelines.values():
            pipeline.forget()

    @property
    def velocity_seconds(self) -> float:
        """Time constant of the low-pass over joint velocities, seconds."""
        return next(iter(self._pipelines.values())).velocity_seconds

    @velocity_seconds.setter
    def velocity_seconds(self, seconds: float) -> None:
        for pipeline in self._pipelines.values():
            pipeline.velocity_seconds = seconds

    def rest(self) -> None:
        """Forget everybody and free the memory of the estimator's device until `resume`."""
        self.forget()
        if self._device.type != "cpu":
            self.estimator.move_to(torch.device("cpu"))
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def resume(self) -> None:
        """Move the estimator back to its device."""
        if self._device.type != "cpu":
            self.estimator.move_to(self._device)


def build_multi_camera_pipeline(
    cameras: Sequence[str], settings: PipelineSettings
) -> MultiCameraPipeline:
    """The cameras' pipelines, ready to run; they share all networks.

    Args:
        cameras: their names, at least one.
        settings: for every camera's pipeline and for the estimator that they share.

    Raises:
        ValueError, FileNotFoundError: see `build_pipeline`.
    """
    first = build_pipeline(settings)
    assert isinstance(first.perception, PeopleTracker)
    pipelines = {cameras[0]: first}
    for camera in cameras[1:]:
        pipelines[camera] = Pipeline(
            first.perception.clone(),
            first.estimator,
            first.make_smoother,
            first.make_corrector,
            first.rotate,
        )
        pipelines[camera].velocity_seconds = first.velocity_seconds
        pipelines[camera].use_filter(first.one_euro)
    return MultiCameraPipeline(pipelines)
