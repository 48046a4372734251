"""Write the results of a run over a rosbag2 to a new bag: a sink of `io/offline.py`.

The PyPI package `rosbags` writes the container; the messages are those of the node.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import serialize_message

from stdformer_ros.models.estimator import Estimator
from stdformer_ros.ros.inputs.bags import BagError, Recorded, import_rosbag2
from stdformer_ros.ros.outputs.messages import body_model, human_array
from stdformer_ros.types import Answer


class ResultsBag:
    """A sink (see `offline.Sink`) that writes /stdformer/humans and /stdformer/body_model.

    Each message has its image's header and recording time, so that the results can be played
    together with the recorded bag.

    Args:
        path: folder of the new rosbag2.
        estimator: the one that gives the answers.
        vertices: whether to write the meshes.

    Raises:
        BagError: if there is something at `path` already.
    """

    def __init__(self, path: Path, estimator: Estimator, vertices: bool) -> None:
        if path.exists():
            raise BagError(f"{path} exists already: remove it, or choose another folder")
        self.path = path
        self._estimator = estimator
        self._vertices = vertices
        self._files = ExitStack()
        self._writer: Any = None
        self._humans: Any = None

    def __enter__(self) -> ResultsBag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Complete the bag; if there was no answer, no bag is written."""
        self._files.close()

    def add(self, answer: Answer) -> None:
        """Write the humans of a frame that comes from a `Bag`."""
        recorded, estimator = answer.frame.source, self._estimator
        assert isinstance(recorded, Recorded)
        if self._writer is None:
            self._open(recorded.time_ns)
        message = human_array(
            recorded.header,
            estimator.name,
            estimator.joint_names,
            answer.humans,
            answer.frame.camera,
            self._vertices,
        )
        self._writer.write(self._humans, recorded.time_ns, serialize_message(message))

    def _open(self, time_ns: int) -> None:
        """Begin the bag with the body model, at the time of the first image."""
        self._writer = self._files.enter_context(import_rosbag2().Writer(self.path, version=9))
        types = _our_types()
        self._humans = self._writer.add_connection(
            "/stdformer/humans", "stdformer_ros/msg/HumanArray", typestore=types
        )
        model = self._writer.add_connection(
            "/stdformer/body_model", "stdformer_ros/msg/BodyModel", typestore=types
        )
        self._writer.write(model, time_ns, serialize_message(body_model(self._estimator)))


def _our_types() -> Any:
    """The definitions of our messages, for readers of the bag that do not have them."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_KILTED)
    folder = Path(get_package_share_directory("stdformer_ros")) / "msg"
    types: dict[str, Any] = {}
    for name in ("Human", "HumanArray", "BodyModel"):
        text = (folder / f"{name}.msg").read_text()
        types |= get_types_from_msg(text, f"stdformer_ros/msg/{name}")
    store.register(types)
    return store
