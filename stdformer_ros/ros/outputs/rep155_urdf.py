"""A person's URDF as REP-155 asks for: its links and joints, in the person's own lengths.

The kinematic model is that of the REP, its names and axes are those of ros4hri's
human_description, so that `rep155.joint_angles` moves it. Lengths are metres, between the joints of
the body that was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import pi
from xml.etree import ElementTree

import numpy as np

from stdformer_ros.types import FloatArray

Offset = tuple[float, float, float]
Joint = tuple[str, str, str, Offset, Offset | None]
"""Its name, its parent's and child's link, where it is in the parent, and its axis; None: fixed."""

RADIUS = 0.03
HEAD_RADIUS = 0.11


def body_urdf(name: str, joints: FloatArray, joint_names: Sequence[str]) -> str:
    """The URDF of one person; every link and joint ends with the body's identifier.

    Args:
        name: the identifier.
        joints: (J, 3) metres, in any frame.
        joint_names: of them; hips, knees, ankles, shoulders, elbows, wrists, pelvis and neck.
    """
    by_name = dict(zip(joint_names, joints.astype(np.float64), strict=True))

    def length(start: str, end: str) -> float:
        return float(np.linalg.norm(by_name[end] - by_name[start]))

    robot = ElementTree.Element("robot", name=f"human_{name}")
    model = list(_trunk(length("pelvis", "neck")))
    lengths: dict[str, float] = {}
    for side, prefix, sign in (("left", "l", 1.0), ("right", "r", -1.0)):
        shoulders = 0.5 * length("left_shoulder", "right_shoulder")
        hips = 0.5 * length("left_hip", "right_hip")
        upper, lower = (
            length(f"{side}_shoulder", f"{side}_elbow"),
            length(f"{side}_elbow", f"{side}_wrist"),
        )
        thigh, shin = length(f"{side}_hip", f"{side}_knee"), length(f"{side}_knee", f"{side}_ankle")
        model += _limb(
            "torso", prefix, ("shoulder", "elbow", "wrist"), shoulders, upper, lower, sign
        )
        model += _limb("body", prefix, ("hip", "knee", "ankle"), hips, thigh, shin, sign)
        lengths |= {f"{prefix}_shoulder": upper, f"{prefix}_elbow": lower}
        lengths |= {f"{prefix}_hip": thigh, f"{prefix}_knee": shin}
    for link in ("body", *(child for _, _, child, _, _ in model)):
        element = ElementTree.SubElement(robot, "link", name=f"{link}_{name}")
        if link in lengths:  # a limb hangs down from its joint
            _visual(element, (0.0, 0.0, -0.5 * lengths[link]), lengths[link])
        elif link == "head":
            _visual(element, (0.0, 0.0, 0.0))
    for joint in model:
        _add_joint(robot, name, joint)
    return ElementTree.tostring(robot, encoding="unicode")


def _trunk(height: float) -> Iterator[Joint]:
    here = (0.0, 0.0, 0.0)
    yield "waist", "body", "waist", here, (0.0, 1.0, 0.0)
    yield "torso", "waist", "torso", (0.0, 0.0, height), None
    yield "r_head", "torso", "r_head", (0.0, 0.0, 0.5 * HEAD_RADIUS), (1.0, 0.0, 0.0)
    yield "y_head", "r_head", "y_head", here, (0.0, 0.0, 1.0)
    yield "p_head", "y_head", "p_head", here, (0.0, -1.0, 0.0)
    yield "head", "p_head", "head", (0.5 * HEAD_RADIUS, 0.0, HEAD_RADIUS), None


def _limb(
    root: str,
    prefix: str,
    parts: tuple[str, str, str],
    aside: float,
    upper: float,
    lower: float,
    sign: float,
) -> Iterator[Joint]:
    """An arm or a leg, which differ in what their first joint turns about."""
    first, middle, end = (f"{prefix}_{part}" for part in parts)
    yaw, pitch = f"{prefix}_y_{parts[0]}", f"{prefix}_p_{parts[0]}"
    arm, here = parts[0] == "shoulder", (0.0, 0.0, 0.0)
    swing = (0.0, -1.0, 0.0)
    yield yaw, root, yaw, (0.0, sign * aside, 0.0), (0.0, 0.0, -sign if arm else -1.0)
    yield pitch, yaw, pitch, here, (sign, 0.0, 0.0)
    yield f"{prefix}_r_{parts[0]}", pitch, first, here, (0.0, 0.0, sign) if arm else swing
    yield middle, first, middle, (0.0, 0.0, -upper), swing
    yield end, middle, end, (0.0, 0.0, -lower), None


def _add_joint(robot: ElementTree.Element, name: str, joint: Joint) -> None:
    label, parent, child, offset, axis = joint
    kind = "fixed" if axis is None else "revolute"
    element = ElementTree.SubElement(robot, "joint", name=f"{label}_{name}", type=kind)
    ElementTree.SubElement(element, "parent", link=f"{parent}_{name}")
    ElementTree.SubElement(element, "child", link=f"{child}_{name}")
    ElementTree.SubElement(element, "origin", xyz=_text(offset), rpy="0 0 0")
    if axis is not None:
        ElementTree.SubElement(element, "axis", xyz=_text(axis))
        ElementTree.SubElement(
            element, "limit", lower=f"{-pi:.4f}", upper=f"{pi:.4f}", effort="1000", velocity="10"
        )


def _visual(link: ElementTree.Element, offset: Offset, length: float | None = None) -> None:
    """A cylinder along z, or without a length a head."""
    visual = ElementTree.SubElement(link, "visual")
    ElementTree.SubElement(visual, "origin", xyz=_text(offset), rpy="0 0 0")
    geometry = ElementTree.SubElement(visual, "geometry")
    if length is None:
        ElementTree.SubElement(geometry, "sphere", radius=str(HEAD_RADIUS))
    else:
        ElementTree.SubElement(geometry, "cylinder", radius=str(RADIUS), length=f"{length:.4f}")


def _text(values: Offset) -> str:
    return " ".join(f"{value:.4f}" for value in values)
