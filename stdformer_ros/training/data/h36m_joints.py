"""Human3.6M's 17 joints of posed bodies, without posing the whole mesh."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from stdformer_ros.body.body_model import forward_kinematics, h36m_joint_regressor, load_body_arrays
from stdformer_ros.body.skeleton import H36M_NAMES, JOINT_NAMES

_HEAD = slice(9, 11)
"""Which of the 17 are places of the head and not joints of ours."""


class H36MJoints(nn.Module):
    """The joints of `body.body_model.h36m_joint_regressor`, by its own definition.

    Limbs, neck and pelvis are the skeleton's joints, the torso is the middle of the lower and the
    upper spine joint, and the two places of the head move with its joint.
    """

    template: Tensor
    shapedirs: Tensor
    joints_template: Tensor
    joints_shapedirs: Tensor

    def __init__(self) -> None:
        super().__init__()
        data = load_body_arrays()
        rows = h36m_joint_regressor()[_HEAD]
        for name, array in (
            ("template", rows @ data["v_template"]),
            ("shapedirs", np.einsum("hv,vck->hck", rows, data["shapedirs"])),
            ("joints_template", data["joints_template"]),
            ("joints_shapedirs", data["joints_shapedirs"]),
        ):
            tensor = torch.from_numpy(array.astype(np.float32))
            self.register_buffer(name, tensor, persistent=False)
        self._head = JOINT_NAMES.index("head")
        self._spine = [JOINT_NAMES.index(name) for name in ("spine1", "spine3")]
        names = (*JOINT_NAMES, "torso")
        joints = [names.index(n) for n in H36M_NAMES[: _HEAD.start] + H36M_NAMES[_HEAD.stop :]]
        places = list(range(len(names), len(names) + 2))
        self._order = joints[: _HEAD.start] + places + joints[_HEAD.start :]

    def forward(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """Pose.

        Args:
            rotations: (B, 24, 3, 3), the pelvis' in the wanted frame, the others relative.
            betas: (B, 10).

        Returns:
            (B, 17, 3) metres, the pelvis at the origin.
        """
        rest = self.joints_template + torch.einsum("jck,bk->bjc", self.joints_shapedirs, betas)
        turns, joints = forward_kinematics(rotations, rest)
        torso = joints[:, self._spine].mean(dim=1, keepdim=True)
        on_head = self.template + torch.einsum("vck,bk->bvc", self.shapedirs, betas)
        on_head = on_head - rest[:, self._head, None]
        moved = joints[:, self._head, None] + on_head @ turns[:, self._head].transpose(1, 2)
        return torch.cat([joints, torso, moved], dim=1)[:, self._order]
