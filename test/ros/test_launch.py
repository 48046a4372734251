"""What the launch files start, and with which settings, where ROS' launch is installed."""

from pathlib import Path

import pytest

pytest.importorskip("launch", reason="needs ROS 2's launch, which no Python registry carries")
pytest.importorskip("launch_ros", reason="needs ROS 2's launch_ros")

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from launch_ros.actions import LifecycleNode

from helpers.paths import ROOT

pytestmark = pytest.mark.ros


def description(name):
    return get_launch_description_from_python_launch_file(str(ROOT / "launch" / name))


@pytest.mark.parametrize("name", ["camera.launch.py", "demo.launch.py", "multi_camera.launch.py"])
def test_every_argument_is_described(name):
    arguments = [e for e in description(name).entities if isinstance(e, DeclareLaunchArgument)]
    assert arguments
    assert all(len(argument.description) > 10 for argument in arguments)


def test_the_camera_launch_file_has_the_arguments_of_the_readme():
    entities = description("camera.launch.py").entities
    names = {e.name for e in entities if isinstance(e, DeclareLaunchArgument)}
    assert {"image", "camera_info", "params_file", "device", "namespace", "rviz"} <= names
    assert sum(isinstance(entity, LifecycleNode) for entity in entities) == 1


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


def test_several_cameras_are_one_node_with_the_topics_of_each():
    context = LaunchContext()
    entities = description("multi_camera.launch.py").entities
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
    context.launch_configurations["cameras"] = "[left, right]"
    (started,) = next(e for e in entities if isinstance(e, OpaqueFunction)).execute(context)
    assert isinstance(started, LifecycleNode)
    rules = {
        perform_substitutions(context, a): perform_substitutions(context, b)
        for a, b in started._Node__remappings
    }
    assert rules["left/image"] == "/left/image_raw"
    assert rules["right/camera_info"] == "/right/camera_info"
    assert len(rules) == 6
