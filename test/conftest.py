"""What several tests need: where things are, and a ROS that meets nobody else's."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from helpers.paths import ROOT, TEST

# Before any test initialises ROS: a domain of this run's own, on this machine only.
os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# Programs that a test starts find the helpers too.
os.environ["PYTHONPATH"] = f"{TEST}:{os.environ.get('PYTHONPATH', '')}"


# No test fails for the time that it took: the machine may be busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# Many small tensors: a second thread that must wait for a busy core makes them four times slower.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The sibling folder with reference data, which a checkout need not have."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference data in {folder}")
    return folder


@pytest.fixture(scope="session")
def real_video() -> Path:
    """Two real people, 1768x994 at 30 frames a second; downloaded if it is nowhere."""
    beside = ROOT.parent / "shared" / "videos" / "sports2d_demo.mp4"
    if beside.exists():
        return beside
    from stdformer_ros.io.video import sample_clip

    try:
        return sample_clip(Path(os.environ.get("STDFORMER_CACHE", ROOT / ".cache")))
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A fake in place of the networks; returns what it was asked for."""
    from helpers.fake_pipeline import FakePipeline
    from stdformer_ros import pipeline
    from stdformer_ros.config import PipelineSettings

    asked: dict[str, Any] = {}

    def build(settings: PipelineSettings) -> FakePipeline:
        asked.update(dataclasses.asdict(settings))
        return FakePipeline(settings.delay_frames)

    monkeypatch.setattr(pipeline, "build_pipeline", build)
    return asked


@pytest.fixture(scope="module")
def ros() -> Iterator[None]:
    """ROS 2 in this process, while a module's tests run."""
    import rclpy

    rclpy.init()
    yield
    rclpy.shutdown()
    gc.collect()  # a node in a cycle of references would be seen by the next module's tests


@pytest.fixture
def client(ros: None) -> Iterator[Any]:
    """The other side of the node's topics, see `helpers.ros_client.Client`."""
    from helpers.ros_client import Client

    client = Client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Any]:
    """An active node for tests that leave it as it was; PARAMETERS of the module are its own."""
    from helpers.ros_client import NodeProcess

    log = tmp_path_factory.mktemp("node") / "log"
    parameters = getattr(request.module, "PARAMETERS", {})
    with NodeProcess(log, autostart=True, **parameters) as node:
        yield node
