"""Adaptive quality: what is given up while frames take too long, and in which order.

First the whole image is searched for new people less often, which nobody sees as long as nobody
enters; then the lighter landmark model follows people; last the meshes become coarser, which what
listens to the vertices notices at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

RAREST_SEARCH = 40
"""Frames between searches for new people, if less must do."""

PERIOD = 1.0
"""Seconds of frames that are judged together: the detector makes single frames slow."""
FEWEST = 5
"""Frames that a judgement needs at least."""
ROOM = 0.7
"""A better quality is tried while frames take less than this part of the budget."""
PATIENCE = 5.0
"""Seconds for which there must be room before a better quality is tried."""
MAX_PATIENCE = 80.0
"""After each trial that failed the patience doubles, up to this."""


@dataclass(frozen=True)
class Quality:
    """What can be changed while the stream runs; see `build_pipeline` for the values.

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
    """What to fall back to, the wanted quality first; each step gives up one thing more.

    Args:
        wanted: as configured.
        mesh_levels: those that the estimator can change to.
    """
    steps = [wanted]
    while steps[-1].detect_every < RAREST_SEARCH:
        rarer = min(2 * steps[-1].detect_every, RAREST_SEARCH)
        steps.append(replace(steps[-1], detect_every=rarer))
    if wanted.landmarks == "full":
        steps.append(replace(steps[-1], landmarks="lite"))
    for level in sorted(mesh_levels, reverse=True):
        if level < wanted.mesh_level:
            steps.append(replace(steps[-1], mesh_level=level))
    return tuple(steps)


class QualityController:
    """Chooses among the steps so that a frame takes no longer than 1 / target_fps.

    Frames that are too slow on average over a period lower the quality by one step. A better one is
    tried after `PATIENCE` seconds with room to spare; if that turns out too much, the next trial
    waits twice as long. So load that lies between two steps costs a trial now and then instead of
    an oscillation.

    Args:
        target_fps: frames a second to keep, > 0.
        steps: how many there are, step 0 the best.

    Attributes:
        step: the present one.
    """

    def __init__(self, target_fps: float, steps: int) -> None:
        self.step = 0
        self._budget = 1.0 / target_fps
        self._steps = steps
        self._frames: deque[tuple[float, float]] = deque()
        self._changed = float("-inf")
        self._roomy_since: float | None = None
        self._patience = PATIENCE
        self._on_trial = False

    def frame(self, seconds: float, now: float) -> bool:
        """Take note of a frame.

        Args:
            seconds: that the work on it took.
            now: when it was done, monotonic seconds.

        Returns:
            Whether the step has changed.
        """
        self._frames.append((now, seconds))
        while len(self._frames) > FEWEST and now - self._frames[0][0] > PERIOD:
            self._frames.popleft()
        if now - self._changed < PERIOD or len(self._frames) < FEWEST:
            return False
        mean = sum(took for _, took in self._frames) / len(self._frames)
        if self._on_trial and now - self._changed > PATIENCE:
            self._on_trial, self._patience = False, PATIENCE
        if mean > self._budget:
            return self._lower(now)
        if mean > ROOM * self._budget or self.step == 0:
            self._roomy_since = None
            return False
        if self._roomy_since is None:
            self._roomy_since = now
        if now - self._roomy_since < self._patience:
            return False
        self._on_trial = True
        return self._change(self.step - 1, now)

    def _lower(self, now: float) -> bool:
        if self._on_trial:
            self._on_trial = False
            self._patience = min(2 * self._patience, MAX_PATIENCE)
        if self.step + 1 == self._steps:
            self._roomy_since = None
            return False
        return self._change(self.step + 1, now)

    def _change(self, step: int, now: float) -> bool:
        self.step = step
        self._changed = now
        self._roomy_since = None
        self._frames.clear()
        return True
