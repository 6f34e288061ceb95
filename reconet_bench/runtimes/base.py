"""What a runtime is: it loads a model into a session. Sessions and models themselves are in :mod:`.session`."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar, Self

import torch

from reconet_bench.core.errors import ReconetBenchError, RuntimeUnavailable, UnknownName, out_of_memory
from reconet_bench.core.machine import pick_device, usable_cpus
from reconet_bench.core.memory import memory_in_use
from reconet_bench.core.registry import Registry
from reconet_bench.runtimes.handle import CANNOT_RUN, SessionHandle
from reconet_bench.runtimes.model_source import ModelSource
from reconet_bench.runtimes.parity import (
    Parity,
    float_frames,
    frames_parity,
    parity_of,
    reference_frames,
    session_parity,
)
from reconet_bench.runtimes.session import Resident, Session

__all__ = [
    "CANNOT_RUN",
    "RUNTIMES",
    "ModelSource",
    "Parity",
    "Resident",
    "Runtime",
    "Runtimes",
    "Session",
    "SessionHandle",
    "float_frames",
    "frames_parity",
    "parity_of",
    "reference_frames",
    "session_parity",
]

#: Devices that a name may hold, as in ``onnxruntime:cuda:fp16``.
DEVICES = ("cpu", "cuda")


class Runtimes(Registry["Runtime"]):
    """Runtimes by name, and their variants: ``openvino:bf16``, ``onnxruntime:cuda:fp16``.

    A name is ``RUNTIME[:DEVICE][:VARIANT]``, the two options in any order. Without a variant, or with ``fp32``,
    it means what the runtime does by itself.
    """

    def __getitem__(self, name: str) -> Runtime:
        base, *words = name.split(":")
        runtime = super().__getitem__(base)
        return runtime.choose(base, words) if words or not runtime.bare else runtime

    def canonical(self, name: str) -> str:
        """``name`` as its records call it: ``torch:fp32`` is ``torch``.

        Raises:
            UnknownName: no such runtime or variant.
        """
        return ":".join([name.partition(":")[0], *self[name].options])

    def names(self, default: bool = False) -> list[str]:
        """Every runtime and variant by name, or those that take part unless others are asked for."""
        return [
            f"{base}:{variant}" if variant else base
            for base, runtime in self.items()
            for variant in (runtime.defaults if default else (*([""] if runtime.bare else []), *runtime.variants))
        ]


RUNTIMES = Runtimes("runtime", "reconet_bench.runtimes")


@dataclass(frozen=True)
class Status:
    """Whether something can be used here, and one line for people: what it is, or why it cannot be used."""

    text: str
    usable: bool = True


class Runtime(ABC):
    """Something that runs models.

    Attributes:
        summary: one line for ``reconet-bench list``: what it does without a variant, which is fp32.
        variants: other ways to run, by name, with a line for each.
        defaults: variants that take part in a comparison unless runtimes are named; ``""`` is none.
        from_network: whether it takes the network itself; others take the ONNX file.
        with_state: variants that run networks with state, see :class:`~reconet_bench.temporal.state.StateInput`.
        bare: whether it has a form of its own without a variant; else the first variant is meant.
        runs_python: whether it runs models of the user's own in Python.
        reinstall: command that installs it again, for one that is installed but broken; empty where there is none.
        variant: the one chosen, ``""`` for none.
        place: the device that its name holds, ``""`` for none.
    """

    summary: ClassVar[str]
    variants: ClassVar[dict[str, str]] = {}
    defaults: ClassVar[tuple[str, ...]] = ("",)
    from_network: ClassVar[bool] = False
    with_state: ClassVar[tuple[str, ...]] = ()
    runs_python: ClassVar[bool] = False
    reinstall: ClassVar[str] = ""
    bare: ClassVar[bool] = True
    variant: str = ""
    place: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """What follows the runtime in its name: device and variant."""
        return tuple(filter(None, (self.place, self.variant)))

    @property
    def description(self) -> str:
        """One line: what this variant is."""
        return self.variants.get(self.variant, self.summary)

    def choose(self, base: str, words: Sequence[str]) -> Self:
        """This runtime with options, ``base`` being its name.

        Raises:
            UnknownName: no such device or variant.
            RuntimeUnavailable: two devices, or two variants.
        """
        chosen = copy.copy(self)
        variants = [word for word in words if word not in DEVICES]
        places = [word for word in words if word in DEVICES]
        known = {"fp32", *self.variants, *DEVICES}
        for word in variants:
            if word not in known:
                raise UnknownName(f"variant of {base}", word, known)
        if len(variants) > 1 or len(places) > 1:
            raise RuntimeUnavailable(
                f"'{':'.join([base, *words])}': a runtime's name holds one device and one variant at most"
            )
        chosen.place = "".join(places)
        chosen.variant = "" if variants == ["fp32"] else "".join(variants)
        return chosen

    def missing(self) -> str | None:
        """Why it cannot be used here, with the ``pip install`` line; None where it can."""
        return None

    def unusable(self, device: torch.device) -> str | None:
        """Why it computes on no such device, whatever the model; None where it does. Loads no library."""
        return None

    @property
    def status(self) -> Status:
        """What it is, or why it cannot be used here, on the device that ``auto`` means."""
        if reason := self.missing():
            return Status(f"missing: {reason}", usable=False)
        try:
            self.check()
        except RuntimeUnavailable as error:
            return Status(f"unusable here: {error}", usable=False)
        return Status(self.description)

    @abstractmethod
    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        """Load ``model``; the runtime is installed, torch sees the device, and it is not :meth:`unusable` there."""

    def check(self, device: str = "auto", threads: int | None = None) -> torch.device:
        """The device that :meth:`load` would take with these arguments; quick, nothing is loaded.

        Raises:
            RuntimeUnavailable: not installed, no such device, or not for this device.
        """
        if reason := self.missing():
            raise RuntimeUnavailable(reason)
        if threads is not None and threads < 1:
            raise RuntimeUnavailable(f"threads must be 1 or more, got {threads}")
        if self.place and device != "auto" and not device.startswith(self.place):
            raise RuntimeUnavailable(
                f"the runtime's name says {self.place}, but --device says {device}: give only one of them"
            )
        place = pick_device(self.place if device == "auto" and self.place else device)
        if reason := self.unusable(place):
            raise RuntimeUnavailable(reason)
        return torch.device("cuda", 0) if str(place) == "cuda" else place

    def _check_kind(self, model: ModelSource) -> None:
        """Raise RuntimeUnavailable for a kind of model that it never runs."""
        name = ":".join(
            [next((one for one, runtime in RUNTIMES.items() if type(runtime) is type(self)), ""), *self.options]
        )
        if model.state and self.variant not in self.with_state:
            raise RuntimeUnavailable(
                f"{name} does not run networks with state ('{model.name}'): use onnxruntime or openvino"
            )
        if model.python is not None and not self.runs_python:
            raise RuntimeUnavailable(f"{name} does not run models in Python ('{model.name}'): use torch")

    def load(self, model: ModelSource, device: str = "auto", threads: int | None = None) -> Session:
        """Load ``model`` for frames.

        Args:
            device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
            threads: CPU threads to compute with; all usable cores by default.

        Raises:
            RuntimeUnavailable: not installed, no such device, or it did not run where it was asked to.
            ModelError: the runtime cannot read the model.
        """
        place = self.check(device, threads)
        self._check_kind(model)
        before, start = memory_in_use(str(place)), perf_counter()
        try:
            session = self.open(model, place, threads or usable_cpus())
        except ImportError as error:  # of another version of CUDA, say
            raise RuntimeUnavailable(
                f"it is installed, but its library does not load: {str(error).partition(chr(10))[0]}"
            ) from None
        except Exception as error:
            if isinstance(error, ReconetBenchError) or not out_of_memory(error):
                raise
            raise RuntimeUnavailable(f"not enough memory on {place} to load '{model.name}'") from None
        session.load_seconds = session.load_seconds or perf_counter() - start
        after = memory_in_use(str(place))
        session.load_memory = None if before is None or after is None or session.made_form else max(after - before, 0)
        session.runtime = ":".join([session.runtime, *self.options])
        return session
