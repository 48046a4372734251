"""The services of an active node."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger


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
        self._reset()
        response.success, response.message = True, "all people are forgotten"
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enable(request.data)
        response.success = True
        response.message = "images are processed" if request.data else "images are ignored"
        return response
