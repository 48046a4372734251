"""What is done to one person's answers, one after the other: the whole way from body to body."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stdformer_ros.postprocess.one_euro import BodyFilter, OneEuro
from stdformer_ros.postprocess.steadying import SteadyDistance, SteadySize
from stdformer_ros.types import Body


class BodySmoother:
    """Steadies size and distance, then filters if that is wanted.

    Its memory begins with the person's window. It is no part of the estimators: these answer for a
    window alone, and streaming equals recomputation there; here it equals going through the
    person's frames again from the first one.

    Args:
        joint_names: of the bodies.
        one_euro: the filter's settings; None for no filter.
    """

    def __init__(self, joint_names: Sequence[str], one_euro: OneEuro | None = None) -> None:
        self._pelvis = joint_names.index("pelvis")
        self._steps: list[Callable[[Body, float], Body]] = [
            SteadySize(joint_names),
            SteadyDistance(self._pelvis),
        ]
        self._filter: BodyFilter | None = None
        self._stamp: float | None = None
        self.use_filter(one_euro)

    def use_filter(self, one_euro: OneEuro | None) -> None:
        """Filter otherwise from the next body on, or not at all."""
        if one_euro is None:
            self._filter = None
        elif self._filter is None:
            self._filter = BodyFilter(one_euro, self._pelvis)
        else:
            self._filter.use(one_euro)

    def __call__(self, body: Body, stamp: float) -> Body:
        """The body, smoothed; `stamp` is that of its frame, in seconds."""
        seconds = 0.0 if self._stamp is None else stamp - self._stamp
        self._stamp = stamp
        for step in self._steps:
            body = step(body, seconds)
        return body if self._filter is None else self._filter(body, seconds)
