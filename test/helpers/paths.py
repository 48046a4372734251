"""Paths of the repository, the tests and their data."""

from pathlib import Path

HELPERS = Path(__file__).parent
TEST = HELPERS.parent
ROOT = TEST.parent
DATA = TEST / "data"
FAKE_NODE = HELPERS / "fake_pipeline.py"
FAILING_NODE = HELPERS / "failing_node.py"
KEYPOINT_NODE = HELPERS / "keypoint_node.py"
