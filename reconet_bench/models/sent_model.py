"""A model that travels to another machine, with its network, and its ONNX file where a runtime takes it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconet_bench.core.errors import DataError
from reconet_bench.core.provenance import external_files
from reconet_bench.core.sent_files import SentFile
from reconet_bench.models.loading import Model
from reconet_bench.networks.vgg import find_weights
from reconet_bench.runtimes.base import RUNTIMES


@dataclass(frozen=True)
class SentModel:
    """A model as it travels."""

    model: Model
    onnx: SentFile | None = None

    @classmethod
    def of(cls, model: Model, runtimes: Sequence[str]) -> SentModel:
        """A model of this machine.

        Raises:
            DataError: it does not consist of one file.
        """
        source, name = model.source, model.source.name
        if source.python is not None:
            raise DataError(f"'{name}' is a model in Python, which runs on this machine alone: leave out --on")
        file = None
        if source.network is None or not all(RUNTIMES[runtime].from_network for runtime in runtimes):
            import onnx

            if external_files(onnx.load(str(source.onnx()), load_external_data=False)):
                raise DataError(f"'{name}' has its weights in files beside it, and is not sent: leave out --on")
            file = SentFile.of(source.onnx())
        origin = model.origin and dataclasses.replace(model.origin, onnx=Path)
        bare = dataclasses.replace(model, source=dataclasses.replace(source, onnx=Path), origin=origin, curves="")
        return cls(bare, file)

    def received(self) -> Model:
        """The model on this machine."""
        if self.onnx is None:
            return self.model
        source = dataclasses.replace(self.model.source, onnx=functools.partial(Path, str(self.onnx.received())))
        return dataclasses.replace(self.model, source=source)


def sent_loss_network(vgg: Path | None) -> SentFile | None:
    """The loss network as it travels; ``None`` if there is none."""
    weights = find_weights(vgg)
    return SentFile.of(weights) if weights is not None and weights.is_file() else None
