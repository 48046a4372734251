"""Ctrl-C and SIGTERM while programs import, load and work: a clean end, however many signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from helpers.paths import ROOT

PATIENCE = 60.0
SLOW_IMPORT = """
import time
print("importing", flush=True)
time.sleep(100)
"""
PROGRAMS = {
    "node": (["-m", "stdformer_ros.ros.node"], 0),
    "player": (["-m", "stdformer_ros.demo.player", "video.mp4"], 0),
    "demo": (["-m", "stdformer_ros.demo", "--headless"], 130),
    "cli run": (["-m", "stdformer_ros.cli", "run", "video.mp4", "--out", "out"], 130),
}
SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Program:
    """A Python process whose output is kept, and that is waiting for its end."""

    def __init__(self, log, *arguments, cwd=None, **environment):
        self._log = log
        paths = [environment.pop("first", ""), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = ":".join(path for path in paths if path)
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end, self.output
            time.sleep(0.02)

    def signalled(self, *numbers):
        """The exit code after these signals, one after the other."""
        for number in numbers:
            try:
                self.process.send_signal(number)
            except ProcessLookupError:
                break
        return self.process.wait(PATIENCE)

    @property
    def output(self):
        return self._log.read_text()


@pytest.fixture
def slow_torch(tmp_path):
    """A folder with a module named torch, whose import never ends."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "torch.py").write_text(SLOW_IMPORT)
    return str(folder)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", ["node", "player", "demo", "cli run"])
def test_a_signal_during_the_imports_ends_the_program_cleanly(name, number, slow_torch, tmp_path):
    if not name.startswith("cli"):
        pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
        pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")
    arguments, code = PROGRAMS[name]
    program = Program(tmp_path / "log", *arguments, cwd=tmp_path, first=slow_torch)
    program.wait_for("importing")
    assert program.signalled(number, number) == code
    assert program.output == "importing\n"


LOADING_CLI = """
import sys, time
from pathlib import Path
import stdformer_ros.pipeline
from stdformer_ros import cli

def load(settings):
    print("loading", flush=True)
    time.sleep(100)

stdformer_ros.pipeline.build_pipeline = load
sys.exit(cli.main(["run", sys.argv[1], "--out", "out"]))
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_command_line_loads_models_ends_it_cleanly(number, tmp_path):
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((48, 64, 3), np.uint8))
    program = Program(tmp_path / "log", "-c", LOADING_CLI, str(tmp_path), cwd=tmp_path)
    program.wait_for("loading")
    assert program.signalled(number, number) == 130
    assert program.output == "loading\n"


LOADING_NODE = """
import sys, time
from stdformer_ros.ros.node import main

def load(settings):
    print("loading", flush=True)
    time.sleep(100)

sys.exit(main(build=load))
"""


@pytest.mark.ros
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_node_loads_models_ends_it_cleanly(number, tmp_path):
    """In the node they load in a call that nothing interrupts."""
    pytest.importorskip("rclpy", reason="needs ROS 2 (./run test)")
    pytest.importorskip("stdformer_ros.msg", reason="needs the built workspace (./run test)")
    program = Program(
        tmp_path / "log", "-c", LOADING_NODE, "--ros-args", "-p", "autostart:=true", cwd=tmp_path
    )
    program.wait_for("loading")
    assert program.signalled(number, number) == 0
    assert program.output == "loading\n"


WRITING = """
import time
from stdformer_ros.stopping import keyboard_interrupts

with keyboard_interrupts():
    try:
        print("working", flush=True)
        time.sleep(100)
    except KeyboardInterrupt:
        print("writing", flush=True)
        time.sleep(0.2)
        print("written", flush=True)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_does_not_interrupt_the_writing_of_results(number, tmp_path):
    program = Program(tmp_path / "log", "-c", WRITING)
    program.wait_for("working")
    program.process.send_signal(number)
    program.wait_for("writing")
    assert program.signalled(number) == 0
    assert program.output.split() == ["working", "writing", "written"]


STARTED_PROCESSES = """
import sys
starts = "os.fork", "subprocess.Popen"
sys.addaudithook(lambda event, _: print(event) if event in starts else None)
from stdformer_ros.perception import PeopleTracker
PeopleTracker("lite")
import time
time.sleep(0.5)  # a thread might start one
"""


def test_loading_networks_starts_no_process_that_could_be_left(tmp_path):
    program = Program(tmp_path / "log", "-c", STARTED_PROCESSES)
    assert program.process.wait(PATIENCE) == 0
    assert program.output == ""
