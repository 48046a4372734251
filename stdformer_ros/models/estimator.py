"""What every estimator is to the pipeline: encode each frame once, decode each window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stdformer_ros.types import Body, Frame, Person

Features = dict[str, Tensor]


class Estimator(ABC):
    """A network behind the streaming interface.

    Feeding frames one by one through `encode` and the newest `window` of them through `decode`
    equals running the network over the whole window at once.

    Attributes:
        name: as `create_model` knows it.
        window: how many frames `decode` sees.
        delay_frames: how many frames before the newest one the answer is for (0: causal).
        joint_names: snake_case, in the order of `Body.joints`.
        skeleton: pairs of joint indices that are bones.
        faces: (F, 3) int32 vertex indices of `Body.vertices`, or None without a mesh.
        reads_images: whether `encode` looks at the image, or at landmarks alone.
        mesh_levels: vertices of the meshes that `use_mesh_level` can change to.
        embedded_body: whether its bodies are the embedded one, with rotations.
        people_at_once: how many fit on the device; None as long as memory has not run out.
        device: where it runs.
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
        """What one frame says of each person.

        Args:
            frame: the image and its camera.
            people: P >= 1 people of this frame.

        Returns:
            Named tensors whose first dimension is P. Row i depends on `people[i]` alone.
        """

    def encode_frames(self, seen: Sequence[tuple[Frame, Sequence[Person]]]) -> Features:
        """`encode` of one frame of each of several cameras.

        An estimator whose network is worth a batch runs it once over everybody.

        Args:
            seen: the frames, each with its P_i >= 1 people.

        Returns:
            As `encode`, the first frame's people first.
        """
        return concatenated([self.encode(frame, people) for frame, people in seen])

    @abstractmethod
    def decode(self, windows: Features) -> list[Body]:
        """The body of each person in the frame that the window answers for.

        Args:
            windows: the tensors of `encode` with the time inserted after the people,
                (P, window, ...), oldest frame first.

        Returns:
            P bodies. Body i depends on row i alone.
        """

    def use_mesh_level(self, level: int) -> None:
        """Go on with meshes of so many vertices, and with their `faces`; windows stay valid.

        Raises:
            ValueError: if it is none of `mesh_levels`.
        """
        raise ValueError(f"{self.name} cannot change its mesh to {level} vertices")

    def move_to(self, device: torch.device) -> None:
        """Put networks and constants on another device."""
        for name, value in vars(self).items():
            if isinstance(value, nn.Module | Tensor):
                setattr(self, name, value.to(device))
        self.device = device


def concatenated(parts: Sequence[Features]) -> Features:
    """Features of the same names, the first part's people first."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
