"""The content itself, unstylised: the reference row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from reconet_bench.methods.base import METHODS, Batch, LossContext, Method
from reconet_bench.networks.base import DEFAULT_NETWORK, Identity


@METHODS.register("identity")
class IdentityMethod(Method):
    """Returns the content frame, which is not stylised; its instability comes from light and flow only."""

    summary = "the content itself: the floor for flicker, and no style"
    weights: ClassVar[dict[str, float]] = {}
    trainable = False

    def network(self, options: Mapping[str, Any] | None = None, kind: str = DEFAULT_NETWORK) -> nn.Module:
        return Identity()

    def objective(self, network: nn.Module, batch: Batch, context: LossContext) -> dict[str, Tensor]:
        raise TypeError("identity has nothing to train")
