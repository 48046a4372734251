"""Settings are declared once; what users read and write says the same."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict, fields

import cv2
import numpy as np
import pytest
import yaml

from helpers.paths import ROOT
from stdformer_ros.cli import main
from stdformer_ros.config import (
    EstimatorSettings,
    NodeSettings,
    PipelineSettings,
    add_arguments,
    from_arguments,
)
from stdformer_ros.pipeline import build_pipeline

DEFAULTS = {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(NodeSettings()).items()}


def test_the_parameter_file_holds_every_setting_with_its_default() -> None:
    config = yaml.safe_load((ROOT / "config" / "default.yaml").read_text())
    written = config["/**"]["ros__parameters"]
    assert written == {name: DEFAULTS[name] for name in written}
    assert set(DEFAULTS) - set(written) == {"autostart"}  # the launch files set it


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_the_parameter_files_set_only_what_exists_to_what_is_possible(file) -> None:
    (content,) = yaml.safe_load(file.read_text()).values()
    values = content["ros__parameters"]
    NodeSettings(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})


@pytest.mark.parametrize("item", fields(NodeSettings), ids=lambda item: item.name)
def test_the_documentation_tells_default_and_liveness_of_every_setting(item) -> None:
    name, default = item.name, DEFAULTS[item.name]
    documentation = (ROOT / "docs" / "ros_interface.md").read_text()
    row = re.search(rf"^\| `{name}` \|([^|]*)\|([^|]*)\|", documentation, re.MULTILINE)
    assert row, f"docs/ros_interface.md does not tell of {name}"
    assert (row[2].strip() == "yes") == item.metadata["live"]
    shown = row[1].strip().strip("`").removesuffix(" s")
    assert shown == (str(default).lower() if isinstance(default, bool) else str(default))


def test_the_readme_tells_true_defaults() -> None:
    table = (ROOT / "README.md").read_text().split("### Parameters")[1].split("\n\n")
    (rows,) = [block for block in table if block.startswith("| parameter")]
    for row in rows.splitlines()[2:]:
        names, shown = (
            re.findall(r"[\w.]+", cell.replace("`", "")) for cell in row.split("|")[1:3]
        )
        for name, value in zip(names, shown, strict=False):
            default = DEFAULTS[name]
            assert value == (str(default).lower() if isinstance(default, bool) else str(default))


@pytest.mark.parametrize("item", fields(PipelineSettings), ids=lambda item: item.name)
def test_the_command_line_has_an_option_for_every_setting_of_a_pipeline(item, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert f"--{item.name.replace('_', '-')} " in capsys.readouterr().out


def test_options_become_settings_of_their_types() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, mesh_level=431)
    options = parser.parse_args(["--landmarks", "lite", "--detect-every", "5"])
    assert from_arguments(PipelineSettings, options) == PipelineSettings(
        landmarks="lite", detect_every=5, mesh_level=431
    )
    assert from_arguments(EstimatorSettings, options, device="cuda") == EstimatorSettings(
        mesh_level=431, device="cuda"
    )


def test_an_option_that_a_command_does_not_have_keeps_its_default() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, "model", model=None)
    assert from_arguments(EstimatorSettings, parser.parse_args([])) == EstimatorSettings()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"landmarks": "heavy"}, "landmarks must be one of lite, full, not heavy"),
        ({"detect_every": 0}, "detect_every must be between 1 and 300, not 0"),
        ({"detect_every": 2.5}, "detect_every must be a whole number, not 2.5"),
        ({"detect_every": True}, "detect_every must be a whole number, not True"),
        ({"max_people": "8"}, "max_people must be a whole number, not '8'"),
        ({"filter_beta": float("nan")}, "filter_beta must be between 0.0 and 100.0, not nan"),
        ({"mesh_level": 7000}, "mesh_level must be one of 431, 1723, 6890, not 7000"),
        ({"checkpoint": None}, "checkpoint must be text (in quotes, if YAML takes it for"),
    ],
)
def test_a_value_that_is_not_possible_is_named(wrong, said) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        build_pipeline(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cameras": ()}, "cameras must name each camera once"),
        ({"cameras": ("a", "a")}, "cameras must name each camera once"),
        ({"cameras": ("1st",)}, "'1st' cannot be a part of a topic"),
        ({"markers": ("mesh", "shadow")}, "markers must be some of mesh, skeleton, label"),
        ({"depth": 1}, "depth must be true or false, not 1"),
        ({"cameras": "front"}, "cameras must be a list of names, as in [front, rear]"),
        ({"cameras": (1, 2)}, "cameras must be a list of names, as in [front, rear]"),
        ({"markers": (True,)}, "markers must be a list of names"),
    ],
)
def test_the_node_names_what_it_cannot_be_set_to(wrong, said) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        NodeSettings(**wrong)


def test_a_whole_number_is_a_number() -> None:
    assert NodeSettings(target_fps=15).target_fps == 15


def test_a_pipeline_is_built_from_settings_or_from_the_name_of_a_model() -> None:
    for wanted in ("no_such_model", PipelineSettings("no_such_model")):
        with pytest.raises(ValueError, match="there is no model 'no_such_model'"):
            build_pipeline(wanted, mesh_level=431)


def test_a_setting_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError, match="landmark"):
        build_pipeline(landmark="lite")


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path, capsys) -> None:
    clip = tmp_path / "frames"
    clip.mkdir()
    cv2.imwrite(str(clip / "a.png"), np.zeros((48, 64, 3), np.uint8))
    assert main(["run", str(clip), "--out", str(tmp_path), "--detect-every", "0"]) == 2
    assert "detect_every must be between 1 and 300, not 0" in capsys.readouterr().err
