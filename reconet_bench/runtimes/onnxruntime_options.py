"""Options of ONNX Runtime: of sessions, of its TensorRT provider, and of single runs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from reconet_bench.core.cache import mark_used
from reconet_bench.runtimes.artifact_cache import kept

CPU_PROVIDER, CUDA_PROVIDER, TENSORRT_PROVIDER = (
    "CPUExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
)

#: What loads the libraries of a provider that did not come up.
REMEDIES = {
    CUDA_PROVIDER: "its CUDA or cuDNN libraries do not load: install the onnxruntime-gpu for your CUDA version, "
    "or use --device cpu",
    TENSORRT_PROVIDER: 'its TensorRT libraries do not load: pip install "tensorrt<11" for your CUDA version, '
    "or use onnxruntime:cuda",
}


def session_options(threads: int) -> Any:
    """Options of every session here: quiet, sequential, and idle threads that sleep.

    A pool that spins while it waits takes cores from whichever runtime is measured next.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def without_graph() -> Any:
    """Run options of a session with CUDA graphs for a frame that is neither captured nor replayed."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1")
    return options


def cuda_options(device: int, graphed: bool) -> dict[str, Any]:
    """Options of the CUDA provider: fp32 that is fp32, for TF32 is on by default."""
    return {"device_id": device, "use_tf32": "0", "enable_cuda_graph": "1" if graphed else "0"}


def tensorrt_options(
    path: Path, device: int, half: bool, input_name: str = "", shape: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Options of the TensorRT provider; engines are kept, and none is used for another model, shape, version or GPU.

    Where the cache cannot be written nothing is kept: engines are built again next time.

    Args:
        shape: of the tensors that ``input_name`` will get; empty where none will run.
    """
    import torch  # not above: sessions on the CPU do without

    size = "x".join(map(str, shape))
    gpu, precision = torch.cuda.get_device_name(device), "fp16" if half else "tf32"
    folder = kept("onnxruntime-tensorrt", path, gpu=gpu, precision=precision, shape=size)
    mark_used(folder)
    options: dict[str, Any] = {"device_id": device, "trt_fp16_enable": half, "trt_layer_norm_fp32_fallback": half}
    if shape:
        options |= {f"trt_profile_{end}_shapes": f"{input_name}:{size}" for end in ("min", "opt", "max")}
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("engine", "timing"):
            options |= {f"trt_{kind}_cache_enable": True, f"trt_{kind}_cache_path": str(folder)}
    return options
