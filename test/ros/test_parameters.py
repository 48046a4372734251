"""What can be changed while the node runs: parameters, ~/reset, ~/enable."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")

from dataclasses import fields

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import DescribeParameters
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import Marker, MarkerArray

from helpers.fake_pipeline import FakeMultiCameraPipeline
from helpers.ros_client import LATCHED
from stdformer_ros.config import NodeSettings
from stdformer_ros.msg import BodyModel
from stdformer_ros.postprocess.smoothing import OneEuro
from stdformer_ros.ros.node import HumanNode

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("ros")]


@pytest.fixture
def client(client):
    client.connect()
    return client


def test_every_parameter_is_described_and_every_number_has_a_range(running, client):
    names = [item.name for item in fields(NodeSettings)]
    request = DescribeParameters.Request(names=names)
    answer = client.call(DescribeParameters, "describe_parameters", request)
    numbers = {item.name for item in fields(NodeSettings) if type(item.default) in (int, float)}
    for descriptor in answer.descriptors:
        assert len(descriptor.description) > 10, descriptor.name
        bounded = descriptor.integer_range or descriptor.floating_point_range
        if descriptor.name in numbers:
            assert bounded or descriptor.additional_constraints, descriptor.name


def test_vertices_are_switched_on_and_off_while_the_node_runs(running, client):
    assert len(client.answer(1).humans[0].vertices) == 0
    assert client.set_parameter("publish_vertices", True) == ""
    assert len(client.answer(1).humans[0].vertices) == 24
    assert client.set_parameter("publish_vertices", False) == ""
    assert len(client.answer(1).humans[0].vertices) == 0


def test_people_with_a_score_below_min_score_are_left_out(running, client):
    """The fake's people have a score of 0.75."""
    assert client.set_parameter("min_score", 0.8) == ""
    assert client.answer(2).humans == []
    assert client.set_parameter("min_score", 0.7) == ""
    assert len(client.answer(2).humans) == 2
    assert client.set_parameter("min_score", 0.0) == ""


def test_each_namespace_of_the_markers_is_switched_on_and_off(running, client):
    client.listen(MarkerArray, "/stdformer/markers")
    heard = client.heard["/stdformer/markers"]

    def answered_with(count):
        heard.clear()
        header = client.answer(2).header

        def markers():  # those of earlier images may still be under way
            return [m for message in heard for m in message.markers if m.header == header]

        assert client.until(lambda: len(markers()) >= count)
        client.until(lambda: False, 0.2)
        return {(m.ns, m.action) for m in markers()}

    add, delete = Marker.ADD, Marker.DELETE
    client.send_until(lambda: heard)
    assert answered_with(6) == {("mesh", add), ("skeleton", add), ("label", add)}
    assert client.set_parameter("markers", ["skeleton"]) == ""
    gone = {("mesh", delete), ("label", delete)}
    assert answered_with(6) == {("skeleton", add)} | gone
    assert answered_with(2) == {("skeleton", add)}
    assert client.set_parameter("markers", [""]) == ""
    assert answered_with(2) == {("skeleton", delete)}
    wrong = client.set_parameter("markers", ["mesh", "feet"])
    assert wrong == "markers must be some of mesh, skeleton, label, not feet"
    assert client.set_parameter("markers", ["mesh", "skeleton", "label"]) == ""
    assert answered_with(6) == {("mesh", add), ("skeleton", add), ("label", add)}


def test_the_filter_follows_its_parameters_while_the_node_runs():
    pipelines = FakeMultiCameraPipeline()
    node = HumanNode(lambda _: pipelines)
    node.trigger_configure()
    node.trigger_activate()
    assert pipelines.one_euro is None
    for name, value, expected in (
        ("filter_min_cutoff", 1.5, OneEuro(1.5, 0.0)),
        ("filter_beta", 0.5, OneEuro(1.5, 0.5)),
        ("filter_beta", -1.0, OneEuro(1.5, 0.5)),  # refused
        ("filter_min_cutoff", 0.0, None),
    ):
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert result.successful == (value >= 0)
        assert pipelines.one_euro == expected
    node.destroy_node()


def test_an_empty_list_of_markers_is_none_of_them():
    node = HumanNode(lambda _: FakeMultiCameraPipeline())
    (result,) = node.set_parameters([Parameter("markers", Parameter.Type.STRING_ARRAY, [])])
    assert result.successful, result.reason
    assert node.get_parameter("markers").value == []
    node.destroy_node()


def test_the_quality_changes_while_the_node_runs_if_the_estimator_can(running, client):
    client.listen(BodyModel, "/stdformer/body_model", LATCHED)
    heard = client.heard["/stdformer/body_model"]
    assert client.until(lambda: heard)
    heard.clear()
    assert "one of 431, 1723, 6890, not 5" in client.set_parameter("mesh_level", 5)
    reason = client.set_parameter("mesh_level", 431)
    assert reason == "fake has meshes of [4, 8, 6890] vertices, not 431"
    assert client.set_parameter("detect_every", 20) == ""
    assert client.until(lambda: heard), "how bodies are connected was not said anew"
    assert client.set_parameter("landmarks", "lite") == ""
    assert client.set_parameter("target_fps", 15.0) == ""
    assert len(client.answer(1).humans) == 1
    for name, value in (("detect_every", 10), ("landmarks", "full"), ("target_fps", 0.0)):
        assert client.set_parameter(name, value) == ""


def test_a_parameter_that_cannot_change_is_refused_with_the_reason(running, client):
    reason = client.set_parameter("model", "another")
    assert reason == "model applies on configure: deactivate and clean up first"
    assert client.set_parameter("min_score", 1.5) != ""
    assert client.set_parameter("latency_warn", -1.0) != ""
    assert client.set_parameter("min_score", "much") != ""
    assert len(client.answer(1).humans) == 1


def test_a_changed_threshold_changes_the_diagnostics(running, client):
    client.listen(DiagnosticArray, "/diagnostics")
    heard = client.heard["/diagnostics"]

    def says(text):
        def reached():
            client.send(1)
            status = heard[-1].status[0] if heard else None
            return status and status.level == DiagnosticStatus.WARN and text in status.message

        return reached

    # The test's stamps are of 1970.
    assert client.until(says("is use_sim_time right?"))
    values = {item.key: item.value for item in heard[-1].status[0].values}
    assert float(values["memory MB"]) > 10
    assert client.set_parameter("min_fps", 1000.0) == ""
    assert client.until(says("only "))
    assert client.set_parameter("min_fps", 0.0) == ""
    assert client.until(says("is use_sim_time right?"))


def test_reset_forgets_everybody_and_gives_no_track_id_twice(running, client):
    client.listen_to_all()
    before = {human.track_id for human in client.answer(2).humans}
    markers = client.heard["/stdformer/markers"]
    assert client.until(lambda: len(markers) >= 3)
    markers.clear()
    assert client.call(Trigger, "reset", Trigger.Request()).success
    assert client.until(lambda: markers), "RViz was not cleared"
    assert {marker.action for marker in markers[0].markers} == {Marker.DELETE}
    assert not before & {human.track_id for human in client.answer(2).humans}


def test_a_disabled_node_neither_receives_images_nor_warns_until_it_is_enabled(running, client):
    client.listen(DiagnosticArray, "/diagnostics")
    client.answer(1)
    assert client.call(SetBool, "enable", SetBool.Request(data=False)).success
    assert client.until(lambda: client._image.get_subscription_count() == 0)
    heard = client.heard["/diagnostics"]
    heard.clear()
    assert client.until(lambda: heard)
    assert heard[-1].status[0].message == "disabled by ~/enable"
    assert heard[-1].status[0].level == DiagnosticStatus.OK
    assert client.call(SetBool, "enable", SetBool.Request(data=True)).success
    client.connect()
    assert len(client.answer(2).humans) == 2
