"""create_model: names, options, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stdformer_ros.models import MODELS, create_model


def test_every_published_system_has_a_name() -> None:
    wanted = {"pointhmr_hrnet_w32", "sgre_resnet50", "lstm_posenet_81", "simple_posenet_81"}
    wanted |= {f"fastmetro_{s}_hrnet_w64" for s in "SML"} | {f"stdformer_{s}" for s in "SML"}
    wanted |= {f"poseformer_{n}" for n in (9, 27, 81)} | {"simple_transformer_posenet_81"}
    assert wanted <= set(MODELS)


def test_an_unknown_name_lists_the_known_ones_and_the_closest() -> None:
    with pytest.raises(ValueError, match="did you mean 'poseformer_27'") as error:
        create_model("poseformer27")
    assert all(name in str(error.value) for name in MODELS)


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(TypeError, match="no option delay; its options: delay_frames"):
        create_model("poseformer_9", delay=1)


def test_an_unknown_backbone_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'vgg'; there is: hrnet_w64, hrnet_w32, resnet50"):
        create_model("stdformer_S", backbone="vgg")


def test_a_missing_mesh_file_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="FastMETRO project"):
        create_model("pointhmr_hrnet_w32", mesh_sampling=tmp_path / "mesh_downsampling.npz")
