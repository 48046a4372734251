"""`cli models`: a line for every model, the numbers of its network, the files it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stdformer_ros.cli import main
from stdformer_ros.models import MODELS
from stdformer_ros.models import table as model_table
from stdformer_ros.models.lifting.weights import SHIPPED, describe
from stdformer_ros.models.registry import create_model
from stdformer_ros.models.table import PUBLISHED, needed_files, needs


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table with nothing in the user's folder."""
    return model_table.model_table(tmp_path_factory.mktemp("official_weights"))


def cells(table: str, name: str) -> list[str]:
    """The first line of a model, by columns."""
    line = next(line for line in table.splitlines() if line.split(" ")[0] == name)
    return [cell for cell in line.split("  ") if cell.strip()]


def test_there_is_a_line_for_every_model_in_order(printed: str) -> None:
    upper = printed.split("Parameters:")[0]
    first = [line.split(" ")[0] for line in upper.splitlines()]
    assert [word for word in first if word in MODELS] == list(MODELS)


@pytest.mark.parametrize(
    ("name", "window", "output", "parameters"),
    [
        ("stdformer_s_keypoints", "24", "24 joints", "13.2 M"),
        # the published count without the regressor is 153,739,838, and SD and TD hold 3,296
        ("stdformer_L", "8", "15 joints", "163.5 M"),
        ("fastmetro_S_resnet50", "1", "15 joints", "43.3 M"),
        ("sgre_resnet50", "1", "24 joints", "42.1 M"),
        ("poseformer_81", "81", "17 joints", "9.6 M"),
        ("simple_posenet_81", "81", "17 joints", "2.9 M"),
    ],
)
def test_the_numbers_are_those_of_the_networks(
    printed: str, name: str, window: str, output: str, parameters: str
) -> None:
    row = [cell.strip() for cell in cells(printed, name)]
    assert row[1] == window
    assert row[3].startswith(output)
    assert row[4] == parameters


def test_the_regressors_share_is_as_the_footer_says(printed: str) -> None:
    with torch.device("meta"):
        whole, without = (
            sum(
                p.numel()
                for p in create_model("fastmetro_S_resnet50", smpl_regressor=s).parameters()
            )
            for s in (True, False)
        )
    assert f"({(whole - without) / 1e6:.1f} M)" in printed


def test_published_accuracies_are_of_models_there_are(printed: str) -> None:
    assert set(PUBLISHED) <= set(MODELS)
    for name, accuracy in PUBLISHED.items():
        assert cells(printed, name)[-1].strip().endswith(accuracy), name


def test_what_is_missing_is_named_with_the_place_where_it_was_looked_for(tmp_path: Path) -> None:
    files = needed_files("fastmetro_L_hrnet_w64", tmp_path)
    assert [file.option for file in files] == ["checkpoint", "mesh_sampling"]
    assert all(file.found is None for file in files)
    table = model_table.model_table(tmp_path)
    assert f"no: {tmp_path / 'mesh_downsampling.npz'}" in table
    assert f"no: {tmp_path / 'FastMETRO-L-H64_*.bin'}" in table


@pytest.mark.parametrize(
    ("name", "option", "file"),
    [
        ("fastmetro_L_hrnet_w64", "checkpoint", "FastMETRO-L-H64_3dpw_state_dict.bin"),
        ("fastmetro_S_resnet50", "checkpoint", "fastmetro_S_resnet50.safetensors"),
        ("stdformer_L", "mesh_sampling", "mesh_downsampling.npz"),
        ("sgre_resnet50", "smpl", "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl"),
        ("poseformer_81", "checkpoint", "gt81f.bin"),
    ],
)
def test_what_is_there_is_found_by_its_published_name(
    tmp_path: Path, name: str, option: str, file: str
) -> None:
    (tmp_path / file).touch()
    found = {f.option: f.found for f in needed_files(name, tmp_path)}
    assert found[option] == tmp_path / file
    assert [o for o, place in found.items() if place] == [option]


def test_weights_of_another_size_are_not_taken_for_a_models(tmp_path: Path) -> None:
    (tmp_path / "FastMETRO-S-H64_3dpw_state_dict.bin").touch()
    assert needed_files("fastmetro_L_hrnet_w64", tmp_path)[0].found is None


def test_a_file_that_ships_is_read_for_its_size_and_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_table, "FOLDER", tmp_path)
    description = describe("poseformer_27", future_frames=0, joint_channels=8)
    description |= {"training.mpjpe_mm": "81.5", "training.pa_mpjpe_mm": "60.1"}
    save_file({"a": torch.zeros(1000, 600)}, tmp_path / SHIPPED["poseformer_27"], description)
    row = cells(model_table.model_table(tmp_path), "poseformer_27")
    assert row[4].strip() == "0.6 M"
    assert row[5].strip().startswith("ours 81.5 / 60.1; Human3.6M 47.0")


def test_the_command_looks_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "PointHMR_3dpw.bin").touch()
    assert main(["models", "--files", str(tmp_path)]) == 0
    assert f"yes: {tmp_path / 'PointHMR_3dpw.bin'}" in capsys.readouterr().out


def test_shipped_models_need_no_files() -> None:
    for name in ("stdformer_s_keypoints", *SHIPPED):
        assert needs(name) == ()
