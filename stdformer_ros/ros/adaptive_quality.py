"""`target_fps` in the node: the quality that time allows, and what diagnostics say of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast

from rclpy.impl.rcutils_logger import RcutilsLogger

from stdformer_ros.config import NodeSettings
from stdformer_ros.quality import Quality, QualityController, quality_steps

if TYPE_CHECKING:
    from stdformer_ros.multi_camera import MultiCameraPipeline


def wanted_quality(parameters: NodeSettings) -> Quality:
    """The quality that the parameters ask for, while there is time for it."""
    landmarks = cast(Literal["lite", "full"], parameters.landmarks)
    return Quality(parameters.detect_every, landmarks, parameters.mesh_level)


class AdaptiveQuality:
    """Changes the pipelines' quality while frames take too long, if `target_fps` asks for it.

    Args:
        pipelines: as configured; what an earlier one of these has changed is taken back.
        parameters: the node's.
        logger: told of every change.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pipelines: MultiCameraPipeline,
        parameters: NodeSettings,
        logger: RcutilsLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipelines = pipelines
        self._target_fps = parameters.target_fps
        self._logger = logger
        self._clock = clock
        self._controller: QualityController | None = None
        if self._target_fps > 0:
            wanted = wanted_quality(parameters)
            self._steps = quality_steps(wanted, pipelines.estimator.mesh_levels)
            self._controller = QualityController(self._target_fps, len(self._steps))
            pipelines.use_quality(wanted)

    def frame(self, seconds: float) -> bool:
        """Take note that a frame took so long, and act on it.

        Returns:
            Whether meshes have other faces from now on.
        """
        controller = self._controller
        if controller is None:
            return False
        before = self._steps[controller.step]
        if not controller.frame(seconds, self._clock()):
            return False
        now = self._steps[controller.step]
        self._pipelines.use_quality(now)
        self._logger.info(f"for {self._target_fps:g} frames/s: quality is now {now}")
        return now.mesh_level != before.mesh_level

    def settings(self) -> dict[str, str]:
        """For the diagnostics: the present quality and what fits on the device."""
        values = {"target frames per second": f"{self._target_fps:g}"}
        if self._controller is not None:
            step = self._controller.step
            values["quality step"] = f"{step} of {len(self._steps) - 1}"
            values["quality"] = str(self._steps[step])
        people = self._pipelines.estimator.people_at_once
        values["people at once on the device"] = "all" if people is None else str(people)
        return values

    def restrictions(self) -> list[str]:
        """Why people are answered, but not as the parameters say."""
        reasons = []
        if self._controller is not None and self._controller.step:
            quality = self._steps[self._controller.step]
            reasons.append(f"quality lowered for {self._target_fps:g} frames/s: {quality}")
        people = self._pipelines.estimator.people_at_once
        if people is not None:
            reasons.append(f"the device ran out of memory: {people} people at a time")
        return reasons
