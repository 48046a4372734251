"""The services of an active node."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from stdformer_ros.ros.log import cause

Response = TypeVar("Response", Trigger.Response, SetBool.Response)


class Services:
    """`~/reset` forgets all people; `~/enable` stops the processing of images and resumes it.

    Args:
        node: whose services they are.
        reset: called for `~/reset`.
        enable: called for `~/enable` with the requested state.
    """

    def __init__(
        self, node: Node, reset: Callable[[], None], enable: Callable[[bool], None]
    ) -> None:
        self._node = node
        self._reset = reset
        self._enable = enable
        self._services = [
            node.create_service(Trigger, "~/reset", self._on_reset),
            node.create_service(SetBool, "~/enable", self._on_enable),
        ]

    def close(self) -> None:
        """Remove the services from the node."""
        for service in self._services:
            self._node.destroy_service(service)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._done(response, self._reset, "all people are forgotten")

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        effect = "images are processed" if request.data else "images are ignored"
        return self._done(response, partial(self._enable, request.data), effect)

    def _done(self, response: Response, work: Callable[[], None], effect: str) -> Response:
        """The response with the effect of the work; if that fails, with the reason."""
        try:
            work()
        except Exception as error:
            reason = cause(error)
            self._node.get_logger().error(reason)
            response.success, response.message = False, reason.splitlines()[0]
        else:
            response.success, response.message = True, effect
        return response
