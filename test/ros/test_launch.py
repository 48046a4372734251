"""What the launch files start, and with which settings, where ROS' launch is installed."""

from pathlib import Path

import pytest

pytest.importorskip("launch", reason="needs ROS 2's launch, which no Python registry carries")
pytest.importorskip("launch_ros", reason="needs ROS 2's launch_ros")

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.launch_description_sources import get_launch_description_from_python_launch_file

from helpers.launch_report import processes
from helpers.paths import ROOT

pytestmark = pytest.mark.ros

LAUNCH_FILES = ["camera.launch.py", "demo.launch.py", "multi_camera.launch.py"]
VIDEO = {"video": "people.mp4", "rviz": "false"}
"""Arguments of demo.launch.py; the other launch files do without."""


def description(name):
    return get_launch_description_from_python_launch_file(str(ROOT / "launch" / name))


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_every_argument_is_described(name):
    arguments = [e for e in description(name).entities if isinstance(e, DeclareLaunchArgument)]
    assert arguments
    assert all(len(argument.description) > 10 for argument in arguments)


def test_the_camera_launch_file_has_the_arguments_of_the_readme():
    entities = description("camera.launch.py").entities
    names = {e.name for e in entities if isinstance(e, DeclareLaunchArgument)}
    assert {"image", "camera_info", "params_file", "device", "namespace", "rviz"} <= names


def test_images_go_through_shared_memory_unless_the_user_chose_another_profile(monkeypatch):
    name = "FASTDDS_DEFAULT_PROFILES_FILE"
    for value in (None, "/mine.xml"):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
        context = LaunchContext()
        for entity in description("camera.launch.py").entities:
            if isinstance(entity, SetEnvironmentVariable):
                entity.execute(context)
        profile = context.environment[name]
        assert profile == value if value else Path(profile).name == "fastdds_shm.xml"


@pytest.fixture
def launch(tmp_path):
    """Launch a file with arguments; what it starts, by the executable's name."""

    def run(name, arguments):
        folder = tmp_path / f"launch_{len(list(tmp_path.iterdir()))}"
        return processes(ROOT / "launch" / name, arguments, folder)

    return run


@pytest.fixture
def mine(tmp_path):
    """A user's file with parameters."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    device: cuda\n    use_sim_time: true\n    autostart: false\n"
        "    cameras: [left, right]\n"
    )
    return {"params_file": str(file)}


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_arguments_that_are_not_given_leave_the_users_file_as_it_is(name, launch, mine):
    found = launch(name, VIDEO | mine)["node"].parameters
    assert (found["device"], found["use_sim_time"], found["autostart"]) == ("cuda", True, False)
    assert found["cameras"] == ["left", "right"]


def test_arguments_that_are_given_override_the_users_file(launch, mine):
    given = {"device": "cuda:1", "use_sim_time": "false", "autostart": "true"}
    for name in ("camera.launch.py", "multi_camera.launch.py"):
        found = launch(name, mine | given)["node"].parameters
        values = [found[argument] for argument in given]
        assert values == ["cuda:1", False, True]
    demo = launch("demo.launch.py", VIDEO | mine | {"device": "cuda:1"})["node"].parameters
    assert (demo["device"], demo["use_sim_time"]) == ("cuda:1", True)


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_a_launched_node_starts_by_itself_on_the_cpu_without_any_argument(name, launch):
    found = launch(name, VIDEO)["node"].parameters
    assert (found["autostart"], found["device"]) == (True, "cpu")
    assert found["use_sim_time"] is False


def test_smpl_yaml_runs_on_the_gpu_as_it_says(launch):
    file = {"params_file": str(ROOT / "config/smpl.yaml")}
    assert launch("camera.launch.py", file)["node"].parameters["device"] == "cuda"


def test_rviz_takes_its_time_from_the_clock_only_if_it_is_told_so(launch):
    for given, expected in (({}, False), ({"use_sim_time": "true"}, True)):
        rviz = launch("camera.launch.py", {"rviz": "true"} | given)["rviz2"]
        assert rviz.parameters["use_sim_time"] is expected


def test_several_cameras_are_one_node_with_the_topics_of_each(launch, mine):
    """The cameras are those of the argument, or else of the file, or else two."""
    three = {"cameras": "[one, two, three]"}
    for given, cameras in (
        ({}, ["front", "rear"]),
        (mine, ["left", "right"]),
        (mine | three, ["one", "two", "three"]),
    ):
        node = launch("multi_camera.launch.py", given)["node"]
        assert node.parameters["cameras"] == cameras
        topics = {"image": "image_raw", "camera_info": "camera_info", "depth": "depth"}
        expected = {f"{c}/{t}": f"/{c}/{source}" for c in cameras for t, source in topics.items()}
        assert expected.items() <= node.remappings.items()
