"""CUDA graphs: batches of few sizes, and results that the next call does not overwrite."""

from __future__ import annotations

import pytest
import torch

from stdformer_ros.models.runtime.cuda_graphs import BATCHES, CudaGraphs

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("people", [1, 2, 3, 7, 32, 33])
def test_batches_are_padded_to_few_sizes_and_every_row_is_answered(people):
    seen = []

    def double(inputs):
        seen.append(len(inputs["x"]))
        return {"y": 2 * inputs["x"]}

    x = torch.arange(people)
    assert (CudaGraphs(double)({"x": x})["y"] == 2 * x).all()
    assert seen == [next((size for size in BATCHES if size >= people), people)]


@pytest.mark.cuda
@needs_cuda
def test_each_call_computes_anew_and_leaves_earlier_results_alone():
    graphs = CudaGraphs(lambda inputs: {"y": inputs["x"].square()})
    with torch.inference_mode():
        answers = [graphs({"x": torch.full((3,), float(i), device="cuda")})["y"] for i in range(4)]
    assert [a.tolist() for a in answers] == [[float(i * i)] * 3 for i in range(4)]
