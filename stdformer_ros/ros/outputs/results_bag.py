"""Write the results of a run over a rosbag2 to a new bag: a sink of `io/offline.py`.

The PyPI package `rosbags` writes the container; the messages are those of the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from stdformer_ros.io.files import shown
from stdformer_ros.models.estimator import Estimator
from stdformer_ros.ros.inputs.bag_files import BagError, import_rosbag2, plainly_named
from stdformer_ros.ros.inputs.bags import Recorded
from stdformer_ros.ros.inputs.transform_buffer import Transform
from stdformer_ros.ros.outputs.markers import bones_marker, deletions, label_marker, mesh_marker
from stdformer_ros.ros.outputs.messages import body_model, human_array
from stdformer_ros.ros.outputs.publishers import QUEUE
from stdformer_ros.ros.outputs.target_frame import as_taken, upright_pose
from stdformer_ros.types import Answer, Human


class ResultsBag:
    """A sink (see `offline.Sink`) that writes /stdformer/humans and /stdformer/body_model.

    The body model is latched, as the node's is: a subscriber that joins late gets it. Each message
    has its image's header and recording time, so that the results can be played together with the
    recorded bag.

    Args:
        path: folder of the new rosbag2.
        estimator: the one that gives the answers.
        vertices: whether to write the meshes.
        markers: whether to write /stdformer/markers for RViz, too.

    Raises:
        BagError: if there is something at `path` already.
    """

    def __init__(
        self, path: Path, estimator: Estimator, vertices: bool, markers: bool = False
    ) -> None:
        if path.exists():
            raise BagError(f"{path} exists already: remove it, or choose another folder")
        self.path = path
        self._estimator = estimator
        self._vertices = vertices
        self._with_markers = markers
        self._files = ExitStack()
        self._writer: Any = None
        self._humans: Any = None
        self._markers: Any = None
        self._shown: set[tuple[str, int]] = set()

    def __enter__(self) -> ResultsBag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Complete the bag; if there was no answer, no bag is written.

        Raises:
            OSError: if it cannot be completed.
        """
        with self._named_errors():
            self._files.close()

    def add(self, answer: Answer) -> None:
        """Write the humans of a frame that comes from a `Bag`.

        Raises:
            OSError: if they cannot be written.
        """
        recorded, estimator = answer.frame.source, self._estimator
        assert isinstance(recorded, Recorded)
        frame, humans = as_taken(answer.frame, answer.humans)
        names = estimator.joint_names
        message = human_array(
            recorded.header, estimator.name, names, humans, frame.camera, self._vertices
        )
        with self._named_errors():
            if self._writer is None:
                self._open(recorded.time_ns)
            self._writer.write(self._humans, recorded.time_ns, serialize_message(message))
            if self._with_markers:
                markers = self._marker_array(recorded.header, humans, upright_pose(answer.frame))
                self._writer.write(self._markers, recorded.time_ns, serialize_message(markers))

    def _open(self, time_ns: int) -> None:
        """Begin the bag with the body model, at the time of the first image."""
        folder = self._files.enter_context(plainly_named(self.path.parent))
        writer = import_rosbag2().Writer(folder / self.path.name, version=9)
        self._writer = self._files.enter_context(writer)
        types = _our_types()
        add = partial(self._writer.add_connection, typestore=types)
        self._humans = add(
            "/stdformer/humans", "stdformer_ros/msg/HumanArray", offered_qos_profiles=[_qos(QUEUE)]
        )
        model = add(
            "/stdformer/body_model",
            "stdformer_ros/msg/BodyModel",
            offered_qos_profiles=[_qos(1, latched=True)],
        )
        if self._with_markers:
            self._markers = add(
                "/stdformer/markers",
                "visualization_msgs/msg/MarkerArray",
                offered_qos_profiles=[_qos(10 * QUEUE)],
            )
        self._writer.write(model, time_ns, serialize_message(body_model(self._estimator)))

    def _marker_array(
        self, header: Header, humans: Sequence[Human], image_pose: Transform
    ) -> MarkerArray:
        """Mesh, skeleton and label of everybody; markers of those who have left are deleted."""
        markers = []
        for human in humans:
            vertices, faces = human.body.vertices, self._estimator.faces
            if vertices is not None and faces is not None:
                markers.append(mesh_marker(header, human.person.track_id, vertices, faces))
            markers.append(bones_marker(header, human, self._estimator.skeleton))
            markers.append(label_marker(header, human, image_pose))
        shown = {(marker.ns, marker.id) for marker in markers}
        gone, self._shown = sorted(self._shown - shown), shown
        return MarkerArray(markers=[*deletions(header, gone), *markers])

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors of the container, whatever their type, as OSError with the bag's name."""
        try:
            yield
        except Exception as error:
            raise OSError(f"cannot write the bag {shown(self.path)}: {error}") from error


def _qos(depth: int, latched: bool = False) -> Any:
    """A reliable publisher's QoS as it stands in a bag's metadata."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    never = QosTime(2147483647, 4294967295)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=never,
        lifespan=never,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=never,
        avoid_ros_namespace_conventions=False,
    )


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
