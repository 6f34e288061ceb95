"""The number format of a training: fp32, bf16, or fp16 with scaled gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reconet_bench.core.errors import TrainingError
from reconet_bench.core.machine import computes_bf16


@dataclass(frozen=True)
class Precision:
    """Number format of the forward pass; weights, optimiser and losses are always float32.

    Attributes:
        name: ``fp32``, ``bf16`` or ``fp16``.
        dtype: of the convolutions.
        scaler: multiplies the loss in fp16, so that small gradients do not vanish; does nothing in other formats.
    """

    name: str
    dtype: torch.dtype
    scaler: torch.amp.GradScaler

    @classmethod
    def of(cls, name: str, device: torch.device) -> Precision:
        """By its name in the settings; ``auto`` is bf16 if the device supports it, else fp32 (CPU) or fp16 (GPU).

        Raises:
            TrainingError: fp16 on a CPU, where it is slow and some layers lack it.
        """
        if name == "auto":
            # With emulation every GPU "supports" bf16, but slower than fp32.
            if device.type == "cpu":
                name = "bf16" if computes_bf16() else "fp32"
            else:
                name = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        if name == "fp16" and device.type == "cpu":
            raise TrainingError("precision fp16 needs a CUDA GPU: on a CPU use --precision bf16 or fp32")
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
        return cls(name, dtype, torch.amp.GradScaler(device.type, enabled=name == "fp16"))

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context of the forward pass."""
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

    def state(self) -> dict[str, float]:
        """State of the gradient scaler; empty if there is none."""
        return dict(self.scaler.state_dict())

    def restore(self, state: dict[str, float]) -> None:
        """Restore a saved :meth:`state`."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)
