"""Mixed precision: which half a device computes in, and what that asks of training."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Precision(NamedTuple):
    """How matrix products are computed; parameters stay in float32.

    Attributes:
        device: as torch names its kind, "cpu" or "cuda".
        dtype: of the products.
    """

    device: str
    dtype: torch.dtype

    def autocast(self) -> torch.autocast:
        """The context in which the network runs forward."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device, self.dtype if enabled else None, enabled=enabled)

    def scaler(self) -> torch.amp.GradScaler:
        """float16 loses small gradients unless the loss is scaled; the others need nothing."""
        return torch.amp.GradScaler(self.device, enabled=self.dtype == torch.float16)


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def precision_of(device: torch.device, name: str = "auto") -> Precision:
    """The precision of that name.

    Args:
        device: to train on.
        name: "auto" or one of `PRECISIONS`. "auto" is bfloat16 where the device computes in it,
            float16 on older GPUs.

    Raises:
        ValueError: if there is no such precision, or it does not train on this device.
    """
    if name == "auto":
        old = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(device.type, torch.float16 if old else torch.bfloat16)
    if name not in PRECISIONS:
        raise ValueError(f"there is no precision {name!r}; there is: auto, {', '.join(PRECISIONS)}")
    if name == "float16" and device.type == "cpu":
        raise ValueError("float16 does not train on a CPU; choose bfloat16 or float32")
    return Precision(device.type, PRECISIONS[name])
