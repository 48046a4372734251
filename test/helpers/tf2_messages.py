"""Transforms for the tests, and a build of tf2_msgs, which no Python wheel contains."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation

from helpers.paths import ROOT
from helpers.ros_client import stamp_of

PACKAGE = """<package format="3">
  <name>tf2_msgs</name><version>0.0.0</version><description>For tests.</description>
  <maintainer email="nobody@example.invalid">nobody</maintainer><license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <build_depend>rosidl_default_generators</build_depend><depend>geometry_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""


def stamped(parent, child, translation=(0, 0, 0), turn=(0, 0, 0), seconds=0.0) -> TransformStamped:
    """A frame's place in its parent; `turn` is a rotation vector."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, stamp_of(seconds)
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, translation)
    r.x, r.y, r.z, r.w = Rotation.from_rotvec(turn).as_quat().tolist()
    return message


def environment(folder: Path) -> dict[str, str]:
    """What a process needs to import tf2_msgs, which is built into the folder if it is missing.

    Raises:
        RuntimeError: if it cannot be built.
    """
    if importlib.util.find_spec("tf2_msgs") is not None:
        return dict(os.environ)
    source, prefix = folder / "tf2_msgs", folder / "install"
    (source / "msg").mkdir(parents=True)
    (source / "package.xml").write_text(PACKAGE)
    (source / "msg/TFMessage.msg").write_text("geometry_msgs/TransformStamped[] transforms\n")
    ours = (ROOT / "CMakeLists.txt").read_text()
    # The wheels' include folders need the same care as in this package's own build.
    start = ours.index("get_property(imported")
    care = ours[start : ours.index("rosidl_generate_interfaces(")]
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(tf2_msgs LANGUAGES C CXX)\n"
        "find_package(ament_cmake REQUIRED)\nfind_package(rosidl_default_generators REQUIRED)\n"
        f"find_package(geometry_msgs REQUIRED)\n{care}"
        'rosidl_generate_interfaces(tf2_msgs "msg/TFMessage.msg" DEPENDENCIES geometry_msgs)\n'
        "ament_package()\n"
    )
    build = folder / "build"
    options = [f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DPython3_EXECUTABLE={sys.executable}"]
    for command in (
        ["cmake", "-S", source, "-B", build, "-DBUILD_TESTING=OFF", *options],
        ["cmake", "--build", build, "--target", "install"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"tf2_msgs could not be built:\n{done.stdout}\n{done.stderr}")
    (packages,) = prefix.glob("lib/python3*/*-packages")
    added = {
        "PYTHONPATH": packages,
        "LD_LIBRARY_PATH": prefix / "lib",
        "AMENT_PREFIX_PATH": prefix,
    }
    return dict(os.environ) | {
        name: f"{path}:{os.environ.get(name, '')}".rstrip(":") for name, path in added.items()
    }
