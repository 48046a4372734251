"""`pip install --no-build-isolation .`: the package, and with a sourced ROS 2 its messages too.

colcon builds with CMakeLists.txt and does not read this file. Here the same CMake project is built
and installed into a staging folder, from which the wheel takes what Python and ROS need.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
NAME = "stdformer_ros"


class BuildWithMessages(build_py):
    """Adds the generated messages where a ROS 2 is there to generate them."""

    def run(self):
        """Copy the modules, then generate and add the messages."""
        super().run()
        if not os.environ.get("AMENT_PREFIX_PATH"):
            print("No ROS 2 is sourced: installing without the messages and the node's topics.")
            return
        build = (ROOT / self.get_finalized_command("build").build_temp / "cmake").resolve()
        stage = build / "stage"
        configure = ["cmake", "-S", str(ROOT), "-B", str(build), "-DBUILD_TESTING=OFF"]
        configure += [f"-DCMAKE_INSTALL_PREFIX={stage}", "-DCMAKE_BUILD_TYPE=Release"]
        configure += [f"-DPython3_EXECUTABLE={sys.executable}"]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "install", "-j2"], check=True)
        (package,) = stage.glob(f"lib/python3*/*-packages/{NAME}")
        target = Path(self.build_lib) / NAME
        for file in package.rglob("*"):
            own = ROOT / NAME / file.relative_to(package)
            if file.is_file() and not own.exists() and file.suffix != ".c":
                self.mkpath(str((target / file.relative_to(package)).parent))
                self.copy_file(str(file), str(target / file.relative_to(package)))
        self.distribution.data_files = [
            (str(file.parent.relative_to(stage)), [os.path.relpath(file, ROOT)])
            for file in sorted(stage.rglob("*"))
            if file.is_file() and package.parent not in file.parents
        ]


class BinaryDistribution(Distribution):
    """A wheel for one platform only: the messages are compiled."""

    def has_ext_modules(self):
        """Whether anything is compiled."""
        return bool(os.environ.get("AMENT_PREFIX_PATH"))


def requirements():
    """The lines of requirements.txt that name a package."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


manifest = ElementTree.parse(ROOT / "package.xml").getroot()
setup(
    name=NAME,
    version=manifest.findtext("version"),
    description=manifest.findtext("description"),
    license=manifest.findtext("license"),
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={f"{NAME}.assets": ["*"]},
    install_requires=requirements(),
    cmdclass={"build_py": BuildWithMessages},
    distclass=BinaryDistribution,
)
