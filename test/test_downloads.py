"""What a file really is, whatever its name says: each reader refuses it with what to do."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stdformer_ros.body.mesh_levels import load_mesh_sampling
from stdformer_ros.body.smpl import load_joint_regressor, load_smpl_arrays
from stdformer_ros.downloads import is_zip, reason, reason_to_refuse
from stdformer_ros.models import load_checkpoint

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 99\n"

CONTENTS = {
    "empty": (b"", "is empty; the download has failed"),
    "pointer": (POINTER, "is a pointer of Git LFS.*git lfs pull"),
    "page": (b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page.*login"),
    "gzip": (gzip.compress(b"weights"), "an archive of the kind gzip; unpack it"),
}
READERS: dict[str, Callable[[Path], object]] = {
    "weights.pth": lambda path: load_checkpoint(nn.Linear(1, 1), path),
    "weights.safetensors": lambda path: load_checkpoint(nn.Linear(1, 1), path),
    "smpl.pkl": load_smpl_arrays,
    "smpl.npz": load_smpl_arrays,
    "regressor.npy": load_joint_regressor,
    "mesh_downsampling.npz": load_mesh_sampling,
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_says_what_the_file_really_is(tmp_path: Path, name: str, kind: str) -> None:
    content, said = CONTENTS[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as raised:
        READERS[name](tmp_path / name)
    assert name in str(raised.value)
    assert "allow_pickle" not in str(raised.value)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_a_folder_and_an_archive(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is a folder; name the file in it"):
        READERS[name](tmp_path)
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("SMPL_python_v.1.0.0/smpl/models/male.pkl", b"content")
    with pytest.raises(ValueError, match=r"archive of the kind zip \(with SMPL_python.*unpack it"):
        READERS[name](tmp_path / name)


def test_checkpoints_and_arrays_are_no_archives_to_unpack(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    np.savez(tmp_path / "a.npz", a=np.ones(1))
    for name in ("a.pth", "a.npz"):
        assert is_zip(tmp_path / name)
        assert reason_to_refuse(tmp_path / name) == ""
    assert reason_to_refuse(tmp_path / "nowhere.pth") == ""


def test_advice_to_run_code_is_not_passed_on() -> None:
    advice = ValueError("Cannot load file containing pickled data when allow_pickle=False")
    assert reason(advice) == "it holds Python objects, not only arrays"
    assert reason(ValueError("first line\nsecond")) == "first line"
    assert reason(MemoryError()) == "MemoryError"
