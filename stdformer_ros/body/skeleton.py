"""Names, order and bones of joints: SMPL's 24 and Human3.6M's 17."""

PARENTS: tuple[int, ...] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
"""The parent of each of SMPL's joints, by index; the pelvis has none."""

JOINT_NAMES: tuple[str, ...] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""SMPL's joints in SMPL's order."""

BONES: tuple[tuple[int, int], ...] = tuple((p, j) for j, p in enumerate(PARENTS) if p >= 0)
"""Parent and child, by index."""

MIRROR: tuple[int, ...] = tuple(
    JOINT_NAMES.index(name.replace("left", "#").replace("right", "left").replace("#", "right"))
    for name in JOINT_NAMES
)
"""The joint on the other side of the body, by index."""

H36M_NAMES: tuple[str, ...] = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "torso", "neck", "head", "head_top", "left_shoulder", "left_elbow", "left_wrist",
    "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
"""Human3.6M's 17 joints in the order of the published regressor.

The tenth is often called nose. But the published regressor finds it inside the head: its bones to
the neck and to the top of the head are 121 and 115 mm long, on a subject whose neck and top of the
head are not much farther apart, so that it cannot be at the tip of the nose.
"""

TOWARDS_NOSE = 0.2
"""Human3.6M's head joint lies at this fraction of the way from the ears' middle to the nose."""

EVALUATION_ORDER: tuple[int, ...] = (3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10)
"""The 14 joints on which published methods are compared, as indices among the 17."""
