"""Several cameras in one node: separate topics, track ids, errors and diagnostics."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from helpers.ros_client import PATIENCE, Client, NodeProcess

pytestmark = pytest.mark.ros

PARAMETERS = {"cameras": "[front,rear]"}


@pytest.fixture
def cameras(ros):
    """The two cameras, connected."""
    clients = {name: Client(camera=name) for name in ("front", "rear")}
    for client in clients.values():
        client.connect()
    yield clients
    for client in clients.values():
        client.close()


def test_each_camera_is_answered_on_its_own_topics(running, cameras):
    front, rear = cameras["front"].answer(2), cameras["rear"].answer(1)
    assert [human.track_id for human in front.humans] == [1, 2]
    assert [human.track_id for human in rear.humans] == [1]
    assert cameras["rear"].humans == [rear]


def test_intrinsics_belong_to_one_camera(running, cameras):
    cameras["front"].send_info()
    assert cameras["front"].until(lambda: cameras["front"].answer(1).humans[0].metric_depth)
    assert not cameras["rear"].answer(1).humans[0].metric_depth


def test_a_bad_image_of_one_camera_does_not_affect_the_other(running, cameras):
    front, rear = cameras["front"], cameras["rear"]
    front.send_until(lambda: "/front/image: unknown encoding" in running.output, encoding="x")
    front.send_until(lambda: "/front/image: frame failed with" in running.output, fail=True)
    assert "/rear/image: unknown encoding" not in running.output
    assert "/rear/image: frame failed" not in running.output
    assert len(rear.answer(2).humans) == 2
    assert len(front.answer(2).humans) == 2


def test_under_load_both_cameras_are_answered(running, cameras):
    """A camera that sends too many images does not take the other's share."""
    front, rear = cameras["front"], cameras["rear"]
    answered = 0
    for _ in range(5):
        for _ in range(10):
            front.send(1, hundredths=3)
        rear.humans.clear()
        rear.send_until(lambda: rear.humans, 2, hundredths=3)
        answered += len(rear.humans[0].humans) == 2
    assert answered == 5


def test_each_camera_has_its_own_diagnostics(running, cameras):
    front = cameras["front"]
    front.listen(DiagnosticArray, "/diagnostics")
    heard = front.heard["/diagnostics"]

    def levels():
        return {s.name: s.level for s in heard[-1].status} if heard else {}

    def only_rear_is_stale():
        front.send(1)
        now = levels()
        return now.get("/stdformer: rear") == DiagnosticStatus.STALE and now.get(
            "/stdformer: front"
        ) not in (None, DiagnosticStatus.STALE)

    assert front.until(only_rear_is_stale)


def test_names_that_cannot_be_topics_are_refused(tmp_path):
    with NodeProcess(tmp_path / "log", autostart=True, cameras="[front,front]") as node:
        assert node.process.wait(PATIENCE) == 1
        assert "cameras must name each camera once" in node.output
    with NodeProcess(tmp_path / "log2", autostart=True, cameras="['a b']") as node:
        assert node.process.wait(PATIENCE) == 1
        assert "'a b' cannot be a part of a topic" in node.output


def test_topics_without_a_cameras_name_do_not_exist(running, cameras):
    node = cameras["front"].node
    names = dict(node.get_topic_names_and_types())
    assert "/stdformer/humans" not in names
    assert names["/stdformer/front/humans"] == ["stdformer_ros/msg/HumanArray"]
