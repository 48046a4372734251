"""Adaptive quality: what is reduced while frames take too long, and in which order.

First the whole image is searched for new people less often, which changes nothing as long as no new
person enters. Then the lighter landmark model is used. Last the meshes become coarser, which every
subscriber of the vertices notices at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

MAX_DETECT_EVERY = 40
"""The largest number of frames from one search for new people to the next."""

PERIOD = 1.0
"""Seconds over which frame times are averaged: the detector makes single frames slow."""
MIN_FRAMES = 5
"""Smallest number of frames for that mean."""
MAX_LOAD = 0.7
"""A better quality is tried while frames take less than this fraction of 1 / target_fps."""
PATIENCE = 5.0
"""Seconds for which the load must be that low before a better quality is tried."""
MAX_PATIENCE = 80.0
"""Seconds; after each failed trial the patience doubles, up to this."""


@dataclass(frozen=True)
class Quality:
    """The settings that can change while the stream runs; see `build_pipeline` for the values.

    Attributes:
        detect_every: frames from one search for new people to the next.
        landmarks: the landmark model.
        mesh_level: vertices of the mesh.
    """

    detect_every: int
    landmarks: Literal["lite", "full"]
    mesh_level: int

    def __str__(self) -> str:
        return f"{self.landmarks} landmarks, search every {self.detect_every}, {self.mesh_level}"


def quality_steps(wanted: Quality, mesh_levels: Sequence[int]) -> tuple[Quality, ...]:
    """The qualities to fall back to, the wanted one first; each step reduces one setting more.

    Args:
        wanted: as configured.
        mesh_levels: those that the estimator can change to.
    """
    steps = [wanted]
    while steps[-1].detect_every < MAX_DETECT_EVERY:
        rarer = min(2 * steps[-1].detect_every, MAX_DETECT_EVERY)
        steps.append(replace(steps[-1], detect_every=rarer))
    if wanted.landmarks == "full":
        steps.append(replace(steps[-1], landmarks="lite"))
    for level in sorted(mesh_levels, reverse=True):
        if level < wanted.mesh_level:
            steps.append(replace(steps[-1], mesh_level=level))
    return tuple(steps)


class QualityController:
    """Chooses the step of quality at which a frame takes no longer than 1 / target_fps.

    If frames are too slow on average over a period, the quality goes down by one step. After
    `PATIENCE` seconds of low load the next better step is tried; if it is too slow, the next trial
    waits twice as long. So if one step is too slow and the next has a low load, the better step is
    tried from time to time, and the quality does not oscillate.

    Args:
        target_fps: frames per second to keep, > 0.
        steps: the number of steps; step 0 is the best.

    Attributes:
        step: the current one.
    """

    def __init__(self, target_fps: float, steps: int) -> None:
        self.step = 0
        self._budget = 1.0 / target_fps
        self._steps = steps
        self._frames: deque[tuple[float, float]] = deque()
        self._changed = float("-inf")
        self._low_load_since: float | None = None
        self._patience = PATIENCE
        self._on_trial = False

    def frame(self, seconds: float, now: float) -> bool:
        """Record a frame and change the step if needed.

        Args:
            seconds: processing time of the frame.
            now: when it was done, monotonic seconds.

        Returns:
            Whether the step has changed.
        """
        self._frames.append((now, seconds))
        while len(self._frames) > MIN_FRAMES and now - self._frames[0][0] > PERIOD:
            self._frames.popleft()
        if now - self._changed < PERIOD or len(self._frames) < MIN_FRAMES:
            return False
        mean = sum(took for _, took in self._frames) / len(self._frames)
        if self._on_trial and now - self._changed > PATIENCE:
            self._on_trial, self._patience = False, PATIENCE
        if mean > self._budget:
            return self._lower(now)
        if mean > MAX_LOAD * self._budget or self.step == 0:
            self._low_load_since = None
            return False
        if self._low_load_since is None:
            self._low_load_since = now
        if now - self._low_load_since < self._patience:
            return False
        self._on_trial = True
        return self._change(self.step - 1, now)

    def _lower(self, now: float) -> bool:
        if self._on_trial:
            self._on_trial = False
            self._patience = min(2 * self._patience, MAX_PATIENCE)
        if self.step + 1 == self._steps:
            self._low_load_since = None
            return False
        return self._change(self.step + 1, now)

    def _change(self, step: int, now: float) -> bool:
        self.step = step
        self._changed = now
        self._low_load_since = None
        self._frames.clear()
        return True
