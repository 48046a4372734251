"""What is done to one person's answers, one after the other: the whole way from body to body."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stdformer_ros.one_euro import BodyFilter, OneEuro
from stdformer_ros.steadying import SteadyDistance, SteadySize
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
        pelvis = joint_names.index("pelvis")
        self._steps: list[Callable[[Body, float], Body]] = [
            SteadySize(joint_names),
            SteadyDistance(pelvis),
        ]
        if one_euro is not None:
            self._steps.append(BodyFilter(one_euro, pelvis))
        self._stamp: float | None = None

    def __call__(self, body: Body, stamp: float) -> Body:
        """The body, smoothed; `stamp` is that of its frame, in seconds."""
        seconds = 0.0 if self._stamp is None else stamp - self._stamp
        self._stamp = stamp
        for step in self._steps:
            body = step(body, seconds)
        return body
