"""SMPL (Loper et al., SIGGRAPH Asia 2015) from the user's file, through the package `smplx`.

File and package may be used for research only, so neither is part of this package, and `smplx` is
imported only when a body is made. The file is a pickle, or an npz that may hold pickles; it is read
without calling anything that it names (see `safe_pickle`).
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.safe_pickle import load_object_npz, load_pickle
from stdformer_ros.body.skeleton import JOINT_NAMES
from stdformer_ros.downloads import is_zip, reason, reason_to_refuse

VERTICES, JOINTS, BETAS = 6890, 24, 10
POSE_SHAPES = 207
LEFT_HIP, RIGHT_HIP = JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")

_SHAPES: dict[str, tuple[int | None, ...]] = {
    "v_template": (VERTICES, 3),
    "shapedirs": (VERTICES, 3, None),
    "posedirs": (VERTICES, 3, POSE_SHAPES),
    "J_regressor": (JOINTS, VERTICES),
    "weights": (VERTICES, JOINTS),
    "kintree_table": (2, JOINTS),
    "f": (None, 3),
}
"""The shapes of the arrays that a file must hold; None is any number."""


class SmplBody(nn.Module):
    """SMPL: from rotations and shape to mesh and joints.

    Args:
        path: SMPL's pickle or npz, for example `basicModel_neutral_lbs_10_207_0_v1.0.0.pkl`.

    Raises:
        FileNotFoundError: if there is no such file; the message says where to get it.
        ValueError: if the file is broken, names code, or is not SMPL, or `smplx` is missing.

    Attributes:
        faces: (F, 3) int32 vertex indices.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        arrays = load_smpl_arrays(path)
        smplx = _smplx()
        with contextlib.redirect_stdout(io.StringIO()):  # smplx prints how many betas it found
            self.model = smplx.SMPL(
                model_path="",
                data_struct=smplx.utils.Struct(**arrays),
                num_betas=BETAS,
                create_betas=False,
                create_global_orient=False,
                create_body_pose=False,
                create_transl=False,
            )
        self.faces = arrays["f"].astype(np.int32)

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Pose the body.

        Args:
            rotations: (B, 24, 3, 3), the pelvis' in the camera frame, the others relative to
                their parents.
            betas: (B, 10).

        Returns:
            Vertices (B, 6890, 3) and SMPL's 24 joints (B, 24, 3), metres, in the camera's axes.
        """
        out = self.model(
            betas=betas,
            global_orient=rotations[:, :1],
            body_pose=rotations[:, 1:],
            pose2rot=False,
        )
        return out.vertices, out.joints[:, :JOINTS]


def load_smpl_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of SMPL, from a pickle or an npz file.

    Raises:
        FileNotFoundError: if there is no such file; the message says where to get it.
        ValueError: if the file is broken, names code, or is not SMPL.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"no SMPL at {path}; it is basicModel_neutral_lbs_10_207_0_v1.0.0.pkl, available after "
            "registration from the SMPLify project (the male and female files from the SMPL "
            "project); see docs/official_weights.md"
        )
    content = _content(Path(path))
    lacks = [name for name in _SHAPES if name not in content]
    if lacks:
        raise ValueError(f"{path} is not SMPL: it lacks {', '.join(lacks)}")
    arrays = {name: _dense(content[name]) for name in _SHAPES}
    for name, shape in _SHAPES.items():
        found = arrays[name].shape
        fits = len(found) == len(shape) and all(
            n in (None, m) for n, m in zip(shape, found, strict=True)
        )
        if not fits:
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(f"{path} is not SMPL: {name} has the shape {found}, not {wanted}")
    if arrays["shapedirs"].shape[2] < BETAS:
        found = arrays["shapedirs"].shape[2]
        raise ValueError(f"{path} has {found} shape parameters; {BETAS} are needed")
    return arrays


def load_joint_regressor(path: str | Path) -> Tensor:
    """Read `J_regressor_h36m_correct.npy`: (17, 6890), Human3.6M's joints from SMPL's vertices.

    Raises:
        FileNotFoundError: if there is no such file; the message says where to get it.
        ValueError: if it holds something else.
    """
    if refusal := reason_to_refuse(Path(path)):
        raise ValueError(refusal)
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no joint regressor at {path}; it is `J_regressor_h36m_correct.npy` of the public "
            "FastMETRO project (folder src/modeling/data); see docs/official_weights.md"
        )
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is not an intact array: {reason(error)}") from error
    if not isinstance(array, np.ndarray) or array.shape != (17, VERTICES):
        found = getattr(array, "shape", type(array).__name__)
        raise ValueError(f"{path} must hold (17, {VERTICES}) weights, not {found}")
    return torch.from_numpy(array.astype(np.float32))


def _content(path: Path) -> dict[str, Any]:
    """The arrays of the file by name."""
    if path.is_file() and is_zip(path):
        try:
            return {name: array[()] for name, array in load_object_npz(path, _SHAPES).items()}
        except KeyError as error:
            raise ValueError(f"{path} is not SMPL: {error.args[0]}") from error
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not SMPL's named arrays")
    return content


def _dense(value: Any) -> np.ndarray:
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)


def _smplx() -> Any:
    """Import the package, which is done only here."""
    try:
        import smplx
        import smplx.utils
    except ImportError as error:
        raise ValueError(
            "SMPL needs the package smplx, which is not installed because its licence allows "
            "non-commercial use only; for such use: ./run shell pip install smplx"
        ) from error
    return smplx
