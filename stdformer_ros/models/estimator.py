"""The interface between the pipeline and every network: encode each frame once, decode each window.

An estimator gets the people that perception found in a frame, as 2D landmarks, and estimates their
bodies in 3D.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stdformer_ros.types import Body, FloatArray, Frame, Person

Features = dict[str, Tensor]
"""The stored features of a frame: named tensors whose first dimension is the person."""

METRIC = "metric"
"""The feature (P,) that is 1 where the camera's intrinsics are known, 0 where they are assumed."""
SIGHT = "sight"
"""The feature (P, J), 0..1: the visibility of each joint."""


class Estimator(ABC):
    """A network behind the streaming interface.

    Calling `encode` for each frame and `decode` for the newest `window` of them gives the same
    result as running the network over the whole window at once.

    Attributes:
        name: as `create_model` knows it.
        window: number of frames that `decode` sees.
        delay_frames: `decode` answers for the frame this many frames before the newest (0: causal).
        joint_names: snake_case, in the order of `Body.joints`.
        skeleton: pairs of joint indices that are bones.
        faces: (F, 3) int32 vertex indices of `Body.vertices`, or None without a mesh.
        reads_images: whether `encode` looks at the image, or at landmarks alone.
        mesh_levels: numbers of vertices that `use_mesh_level` can change to.
        embedded_body: whether its bodies are the body model of this package, with rotations.
        people_at_once: number of people that fit into the device's memory; None as long as the
            memory has not run out.
        device: the device that the network runs on.
    """

    name: str
    window: int
    delay_frames: int = 0
    joint_names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    faces: NDArray[np.int32] | None
    reads_images: bool = False
    mesh_levels: tuple[int, ...] = ()
    embedded_body: bool = False
    people_at_once: int | None = None
    device: torch.device = torch.device("cpu")

    @abstractmethod
    def encode(self, frame: Frame, people: Sequence[Person]) -> Features:
        """Compute the features of each person in one frame.

        Args:
            frame: the image and its camera.
            people: P >= 1 people of this frame.

        Returns:
            Named tensors whose first dimension is P. Row i depends on `people[i]` alone.
        """

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """`encode` for one frame of each of several cameras.

        By default the cameras are encoded one after the other. An estimator whose network gains
        from larger batches overrides this, and runs it once over the people of all cameras.

        Args:
            seen: the frames, each with its P_i >= 1 people.

        Returns:
            As `encode`, the first frame's people first.
        """
        return concatenated([self.encode(frame, people) for frame, people in seen])

    @abstractmethod
    def decode(self, windows: Features) -> list[Body]:
        """Estimate each person's body in the frame `delay_frames` before the newest.

        Args:
            windows: the tensors of `encode` with the time as second dimension, (P, window, ...),
                oldest frame first.

        Returns:
            P bodies. Body i depends on row i alone.
        """

    def use_mesh_level(self, level: int) -> None:
        """Change the number of the meshes' vertices, and `faces`; encoded features stay valid.

        Raises:
            ValueError: if it is none of `mesh_levels`.
        """
        raise ValueError(f"{self.name} cannot change its mesh to {level} vertices")

    def move_to(self, device: torch.device) -> None:
        """Move networks and constants to another device."""
        for name, value in vars(self).items():
            if isinstance(value, nn.Module | Tensor):
                setattr(self, name, value.to(device))
        self.device = device


def concatenated(parts: Sequence[Features]) -> Features:
    """Features with the same names, concatenated along the people in the order of the parts."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def to_numpy(tensor: Tensor) -> FloatArray:
    """A tensor on any device, of any floating type, as float32 on the CPU."""
    return tensor.float().cpu().numpy()
