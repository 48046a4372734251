"""For the tests of the inputs: somebody who is told of what is left out; `cli run` on bags."""

import pytest

from helpers.fake_pipeline import FakePipeline
from stdformer_ros import cli, pipeline


class Told(list):
    """A `Warn` that keeps the warnings, as (kind, text)."""

    def __call__(self, kind, text):
        self.append((kind, text))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`cli run` on a bag with a fake pipeline; the results are in tmp_path/out."""

    def run(bag, *options, fake=None):
        monkeypatch.setattr(pipeline, "build_pipeline", lambda settings: fake or FakePipeline())
        return cli.main(["run", str(bag), "--out", str(tmp_path / "out"), *options])

    return run
