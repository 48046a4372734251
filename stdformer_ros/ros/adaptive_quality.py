"""The parameter `target_fps`: lower quality while frames take too long, and its diagnostics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, cast

from rclpy.impl.rcutils_logger import RcutilsLogger

from stdformer_ros.config import NodeSettings
from stdformer_ros.quality import Quality, QualityController, quality_steps

if TYPE_CHECKING:
    from stdformer_ros.multi_camera import MultiCameraPipeline


def wanted_quality(parameters: NodeSettings) -> Quality:
    """The quality that the parameters ask for, used as long as frames are fast enough."""
    landmarks = cast(Literal["lite", "full"], parameters.landmarks)
    return Quality(parameters.detect_every, landmarks, parameters.mesh_level)


def possible_qualities(parameters: NodeSettings, mesh_levels: Sequence[int]) -> tuple[Quality, ...]:
    """Every quality that may be used with these parameters, the wanted one first."""
    wanted = wanted_quality(parameters)
    return quality_steps(wanted, mesh_levels) if parameters.target_fps > 0 else (wanted,)


class AdaptiveQuality:
    """Lowers the quality while frames take too long, and raises it again, if `target_fps` is set.

    Args:
        pipelines: their quality is changed; it starts as the parameters say.
        parameters: the node's parameters.
        logger: gets a line for every change.
        clock: returns monotonic seconds.
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
        self._failure = ""
        if self._target_fps > 0:
            self._steps = possible_qualities(parameters, pipelines.estimator.mesh_levels)
            self._controller = QualityController(self._target_fps, len(self._steps))
            pipelines.use_quality(self._steps[0])

    def frame(self, seconds: float) -> bool:
        """Change the quality if needed, given the seconds that a frame took.

        Returns:
            Whether the level of the meshes has changed, and so their faces.

        Raises:
            Exception: any that the pipelines raise. The quality is then what it was before; the
                change is tried again later.
        """
        controller = self._controller
        if controller is None:
            return False
        step = controller.step
        before = self._steps[step]
        if not controller.frame(seconds, self._clock()):
            return False
        now = self._steps[controller.step]
        try:
            self._pipelines.use_quality(now)
        except BaseException as error:
            controller.step = step
            self._failure = f"{type(error).__name__}: {error}"
            self._pipelines.use_quality(before)  # some parts may have changed already
            raise
        self._failure = ""
        self._logger.info(f"target of {self._target_fps:g} frames/s: quality is now {now}")
        return now.mesh_level != before.mesh_level

    def settings(self) -> dict[str, str]:
        """For the diagnostics: the quality now, and how many people fit on the device at once."""
        values = {"target frames per second": f"{self._target_fps:g}"}
        if self._controller is not None:
            step = self._controller.step
            values["quality step"] = f"{step} of {len(self._steps) - 1}"
            values["quality"] = str(self._steps[step])
        people = self._pipelines.estimator.people_at_once
        values["people at once on the device"] = "all" if people is None else str(people)
        return values

    def restrictions(self) -> list[str]:
        """The reasons why the answers are worse than the parameters ask for."""
        reasons = []
        if self._failure:
            reasons.append(f"the quality could not be changed: {self._failure}")
        if self._controller is not None and self._controller.step:
            quality = self._steps[self._controller.step]
            reasons.append(f"quality lowered to reach {self._target_fps:g} frames/s: {quality}")
        people = self._pipelines.estimator.people_at_once
        if people is not None:
            reasons.append(f"the device ran out of memory: it takes {people} people at a time")
        return reasons
