"""ONNX Runtime Web in a headless Chromium: WebAssembly with SIMD and threads, or WebGPU."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from reconet_bench.core.errors import ModelError, RuntimeUnavailable
from reconet_bench.runtimes.base import RUNTIMES, ModelSource, Runtime, Session
from reconet_bench.runtimes.page_facts import page_facts
from reconet_bench.web import ort
from reconet_bench.web.browser import SOFTWARE_GPU, Driven, missing, renderer_peak
from reconet_bench.web.server import Server

WASM, WEBGPU = "wasm", "webgpu"
#: What ONNX Runtime's log calls the backend that all nodes must be on.
_PROVIDERS = {WASM: "CPUExecutionProvider", WEBGPU: "WebGpuExecutionProvider"}
_PAGE = Path(__file__).resolve().parents[1] / "web" / "page"
#: Operators on feature maps: one of these on the CPU is a network that fell back. What else is on the CPU is arithmetic
#: on shapes, which ONNX Runtime keeps there on purpose.
_HEAVY = frozenset(
    (
        *("Conv", "ConvTranspose", "FusedConv", "Gemm", "MatMul", "Pad", "Resize", "Upsample", "Transpose"),
        *("InstanceNormalization", "BatchNormalization", "LayerNormalization", "DepthToSpace", "SpaceToDepth"),
        *("Relu", "PRelu", "LeakyRelu", "Tanh", "Sigmoid", "HardSigmoid", "Clip", "Softmax", "Exp", "Sqrt"),
        *("ReduceMean", "GlobalAveragePool", "AveragePool", "MaxPool"),
    )
)
#: How long the browser may take for one frame, milliseconds.
_PATIENCE = 600_000


class WebSession(Session):
    """A page that holds the network; frames go in and out as text, and the clock runs in the page.

    ``device`` begins with the tensor in the page and ends with the result there; for WebGPU this includes the copies to
    the GPU and back, which a page cannot leave out. ``end_to_end`` is from ``ImageData`` to ``ImageData``.

    Args:
        backend: ``"wasm"`` or ``"webgpu"``.
    """

    runtime = "onnxruntime-web"

    def __init__(self, model: ModelSource, path: Path, threads: int, backend: str) -> None:
        super().__init__(model, torch.device("cpu"), threads)
        self._facts = page_facts(model)
        self._served = {"/": _PAGE / "bench.html", "/ort/": ort.need(), "/model.onnx": path}
        self._served |= {f"/{name}": _PAGE / name for name in ("bench.mjs", "model.mjs")}
        self._log: list[str] = []
        self._server = Server(self._served).__enter__()
        self._driven: Driven | None = None
        try:
            self._driven = Driven(*(SOFTWARE_GPU if backend == WEBGPU and not _has_gpu() else ()))
            self._page = self._open()
            if backend == WEBGPU:
                self._find_adapter()
            self.placement = self._proved(backend)
            self.load_seconds = self._load(backend)
        except BaseException:
            self.close()
            raise
        self.load_memory = None
        self.precision = model.precision

    def _open(self) -> Any:
        assert self._driven is not None
        page = self._driven.page()
        page.set_default_timeout(_PATIENCE)
        page.on("console", lambda message: self._log.append(message.text))
        page.on("pageerror", lambda error: self._log.append(str(error)))
        page.goto(self._server.address)
        page.wait_for_function("window.bench !== undefined")
        if not page.evaluate("bench.isolated()"):
            raise RuntimeUnavailable("the page is not cross-origin isolated, so it has no threads")
        return page

    def _find_adapter(self) -> None:
        found = self._page.evaluate("bench.adapter()")
        if "reason" in found:
            raise RuntimeUnavailable(f"onnxruntime-web:webgpu: {found['reason']}")
        self.device = "webgpu (software)" if found["software"] else "webgpu"

    def _load(self, backend: str, verbose: bool = False) -> float:
        options = {"backend": backend, "threads": self.threads, "facts": self._facts, "verbose": verbose}
        seconds: float = self._ask("load", options)
        return seconds

    def _proved(self, backend: str) -> dict[str, int]:
        """Compute nodes by provider, from ONNX Runtime's own log, in a session that is not timed.

        Raises:
            RuntimeUnavailable: one ran elsewhere than it should, or none was seen.
        """
        self._log.clear()
        self._load(backend, verbose=True)
        nodes = placed_nodes(self._log)
        self._log.clear()
        provider = _PROVIDERS[backend]
        compute = [(operator, place) for operator, place in nodes if place == provider]
        strays = Counter(operator for operator, place in nodes if place != provider and operator in {*_HEAVY, "any"})
        if strays:
            seen = ", ".join(f"{count} {operator}" for operator, count in strays.items())
            raise RuntimeUnavailable(
                f"onnxruntime-web did not run all of '{self.model.name}' on {provider}: {seen} on the CPU"
            )
        if not compute:
            raise RuntimeUnavailable(f"onnxruntime-web reports no compute node for '{self.model.name}'")
        return dict(Counter(place for _, place in compute))

    def _ask(self, what: str, argument: object) -> Any:
        from playwright.sync_api import Error

        try:
            return self._page.evaluate(f"(argument) => bench.{what}(argument)", argument)
        except Error as error:
            said = str(error).strip().splitlines()[0].removeprefix("Page.evaluate: ")
            if "closed" in said or "crash" in said.lower():
                raise RuntimeUnavailable(f"the browser died: {said}; use a smaller size") from None
            raise ModelError(f"{self.model.called}: onnxruntime-web cannot run it: {said}") from None

    def infer(self, x: Tensor) -> Tensor:
        data = base64.b64encode(x.float().contiguous().numpy().tobytes()).decode()
        answer = self._ask("infer", {"data": data, "dims": list(x.shape)})
        y = np.frombuffer(base64.b64decode(answer["data"]), np.float32).reshape(answer["dims"])
        return torch.from_numpy(y.copy())

    def _frame_text(self, image: np.ndarray) -> dict[str, Any]:
        height, width = image.shape[:2]
        rgba = np.dstack((image, np.full((height, width), 255, np.uint8)))
        return {"rgba": base64.b64encode(rgba.tobytes()).decode(), "width": width, "height": height}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.model.stabiliser or image.ndim == 4:
            return super().__call__(image)
        self.model.check_frame(image)
        self.used = True
        painted = np.frombuffer(base64.b64decode(self._ask("stylise", self._frame_text(image))), np.uint8)
        return np.ascontiguousarray(painted.reshape(*image.shape[:2], 4)[..., :3])

    def timed(self, image: np.ndarray, boundary: str) -> float | None:
        if self.model.stabiliser or image.ndim == 4:
            raise RuntimeUnavailable("onnxruntime-web times single frames, without a stabiliser")
        self.model.check_frame(image)
        self.used = True
        seconds: float = self._ask("time", {"frame": self._frame_text(image), "boundary": boundary})
        return seconds

    def peak(self) -> int | None:
        return renderer_peak()

    def close(self) -> None:
        if self._driven is not None:
            self._driven.close()
            self._driven = None
        self._server.close()


def placed_nodes(log: Sequence[str]) -> list[tuple[str, str]]:
    """Operator and provider of each node, from the lines that ONNX Runtime logs when it is verbose."""
    found: list[tuple[str, str]] = []
    provider = ""
    for line in (line for entry in log for line in entry.splitlines()):
        if match := re.search(r"All nodes placed on \[(\w+)\]\. Number of nodes: (\d+)", line):
            return [("any", match[1])] * int(match[2])
        if match := re.search(r"[Nn]ode\(?s?\)? placed on \[(\w+)\]", line):
            provider = match[1]
        elif provider and (match := re.search(r"\]\s+(\w+) \(.*\)\s*$", line)):
            found.append((match[1], provider))
    return found


def _has_gpu() -> bool:
    return torch.cuda.is_available()


@RUNTIMES.register("onnxruntime-web")
class OnnxRuntimeWeb(Runtime):
    """ONNX Runtime Web in Chromium."""

    reinstall: ClassVar[str] = ort.FETCH
    summary: ClassVar[str] = "ONNX Runtime Web in Chromium, WebAssembly with SIMD and threads, fp32"
    variants: ClassVar[dict[str, str]] = {
        WASM: summary,
        WEBGPU: "ONNX Runtime Web in Chromium, WebGPU, fp32; software where there is no GPU",
    }
    #: A browser is started for it, and its files are fetched first.
    defaults: ClassVar[tuple[str, ...]] = ()
    bare: ClassVar[bool] = False

    def choose(self, base: str, words: Sequence[str]) -> Self:
        chosen = super().choose(base, words)
        chosen.variant = chosen.variant or WASM
        return chosen

    def missing(self) -> str | None:
        return missing() or ort.missing()

    def unusable(self, device: torch.device) -> str | None:
        return (
            None
            if device.type == "cpu"
            else "onnxruntime-web takes no --device cuda: the browser finds a GPU by itself"
        )

    def open(self, model: ModelSource, device: torch.device, threads: int) -> Session:
        return WebSession(model, model.onnx(), threads, self.variant or WASM)
