"""Mesh decimation that keeps a subset of the vertices, and barycentric coordinates between levels.

Half-edge collapse ordered by quadric error (Garland and Heckbert, "Surface simplification using
quadric error metrics", 1997). A vertex is moved onto its neighbour, never to a new position. So the
levels are nested: each coarse vertex is also a fine one.
"""

from __future__ import annotations

import heapq

import numpy as np

EVENNESS = 0.02
"""Weight of an edge's length to the fourth power beside the quadric error: without it flat skin
keeps no vertex and the fingers keep most of them."""


def decimate(vertices: np.ndarray, faces: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Collapse edges until `target` vertices are left.

    Args:
        vertices: (V, 3).
        faces: (F, 3) triangles.
        target: number of vertices to keep.

    Returns:
        (target,) indices of the kept vertices, ascending, and faces (F', 3) over those.

    Raises:
        ValueError: if no legal collapse is left before the target is reached.
    """
    vertices = vertices.astype(np.float64)
    triangles: dict[int, tuple[int, int, int]] = {}
    around: list[set[int]] = [set() for _ in vertices]
    for number, (a, b, c) in enumerate(faces.tolist()):
        triangles[number] = (a, b, c)
        for v in (a, b, c):
            around[v].add(number)
    quadrics = _quadrics(vertices, faces)
    alive = {v for v in range(len(vertices)) if around[v]}
    version = [0] * len(vertices)
    heap: list[tuple[float, int, int, int, int]] = []

    def neighbours(v: int) -> set[int]:
        return {w for t in around[v] for w in triangles[t]} - {v}

    def push(v: int, w: int) -> None:
        point = np.append(vertices[w], 1.0)
        edge = vertices[v] - vertices[w]
        length2 = float(edge @ edge)
        cost = float(point @ (quadrics[v] + quadrics[w]) @ point) + EVENNESS * length2**2
        heapq.heappush(heap, (cost, v, w, version[v], version[w]))

    for v in alive:
        for w in neighbours(v):
            push(v, w)
    while len(alive) > target:
        if not heap:
            raise ValueError(f"no legal collapse left at {len(alive)} vertices, wanted {target}")
        _, v, w, version_v, version_w = heapq.heappop(heap)
        if v not in alive or w not in alive or (version[v], version[w]) != (version_v, version_w):
            continue
        ring_v, ring_w = neighbours(v), neighbours(w)
        if (
            w not in ring_v
            or len(ring_v & ring_w) != 2
            or _flips(v, w, triangles, around, vertices)
        ):
            continue
        for t in list(around[v]):
            corners = triangles[t]
            if w in corners:
                for u in corners:
                    around[u].discard(t)
                del triangles[t]
            else:
                triangles[t] = tuple(w if u == v else u for u in corners)  # type: ignore[assignment]
                around[w].add(t)
        around[v].clear()
        alive.discard(v)
        quadrics[w] += quadrics[v]
        ring = neighbours(w)
        version[w] += 1
        for u in ring:
            push(u, w)
            push(w, u)
    kept = np.array(sorted(alive))
    position = {int(v): i for i, v in enumerate(kept)}
    return kept, np.array([[position[v] for v in t] for t in triangles.values()])


def _quadrics(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 4, 4) area-weighted sums of the planes around each vertex."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal / np.maximum(area, 1e-12)
    plane = np.concatenate([normal, -(normal * a).sum(1, keepdims=True)], axis=1)
    quadric = 0.5 * area[:, :, None] * plane[:, :, None] * plane[:, None, :]
    result = np.zeros((len(vertices), 4, 4))
    for k in range(3):
        np.add.at(result, faces[:, k], quadric)
    return result


def _flips(
    v: int,
    w: int,
    triangles: dict[int, tuple[int, int, int]],
    around: list[set[int]],
    vertices: np.ndarray,
) -> bool:
    """Whether moving `v` onto `w` would rotate a triangle by more than about 80 degrees."""
    for t in around[v]:
        corners = triangles[t]
        if w in corners:
            continue
        before = vertices[list(corners)]
        after = vertices[[w if u == v else u for u in corners]]
        n0 = np.cross(before[1] - before[0], before[2] - before[0])
        n1 = np.cross(after[1] - after[0], after[2] - after[0])
        if n0 @ n1 <= 0.17 * np.linalg.norm(n0) * np.linalg.norm(n1):
            return True
    return False


def locate_on_mesh(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point on a mesh of each point: corners and barycentric weights, (P, 3) each."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    centres = (a + b + c) / 3
    corners = np.zeros((len(points), 3), dtype=np.int64)
    weights = np.zeros((len(points), 3))
    for i, point in enumerate(points.astype(np.float64)):
        candidates = np.argsort(np.linalg.norm(centres - point, axis=1))[:60]
        best = np.inf
        for t in candidates:
            bary = _closest(point, a[t], b[t], c[t])
            distance = float(((bary @ np.stack([a[t], b[t], c[t]]) - point) ** 2).sum())
            if distance < best:
                best, corners[i], weights[i] = distance, faces[t], bary
    return corners, weights


def _closest(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Barycentric weights of the point of triangle abc that is nearest to p."""
    basis = np.stack([b - a, c - a], axis=1)
    uv, *_ = np.linalg.lstsq(basis, p - a, rcond=None)
    bary = np.array([1 - uv.sum(), uv[0], uv[1]])
    if (bary >= 0).all():
        return bary
    best, result = np.inf, bary
    corner = (a, b, c)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corner[j] - corner[i]
        s = float(np.clip((p - corner[i]) @ edge / (edge @ edge), 0, 1))
        distance = float(((corner[i] + s * edge - p) ** 2).sum())
        if distance < best:
            best, result = distance, np.zeros(3)
            result[i], result[j] = 1 - s, s
    return result
