"""A body of joints whose limbs point in given directions, for the tests of REP-155."""

import numpy as np

NAMES = ["pelvis", "neck"] + [
    f"{side}_{name}"
    for side in ("left", "right")
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
]
DOWN = np.array([0.0, 0.0, -1.0])


def standing(**directions):
    """(J, 3) metres: a body whose limbs hang down, except those named, which get directions.

    Axes are those of REP-103.
    """
    places = {"pelvis": np.zeros(3)}
    up = np.asarray(directions.get("spine", [0.0, 0.0, 1.0]), float)
    places["neck"] = 0.5 * up / np.linalg.norm(up)
    for side, y in (("left", 0.2), ("right", -0.2)):
        for start, upper, lower in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")):
            base = places["neck"] if start == "shoulder" else places["pelvis"]
            places[f"{side}_{start}"] = base + np.array([0.0, y, 0.0])
            for a, b in ((start, upper), (upper, lower)):
                way = np.asarray(directions.get(f"{side}_{b}", DOWN), float)
                places[f"{side}_{b}"] = places[f"{side}_{a}"] + 0.3 * way / np.linalg.norm(way)
    return np.array([places[name] for name in NAMES], np.float32)
