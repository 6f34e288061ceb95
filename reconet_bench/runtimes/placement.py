"""Which provider of ONNX Runtime each node of a graph ran on, read from the profile that it writes itself."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from reconet_bench.core.errors import RuntimeUnavailable


def compute_nodes(trace: list[dict[str, Any]], pixels: int) -> dict[str, tuple[str, str]]:
    """Nodes of a profile that work on images: name → (operator, provider).

    A compute node is one that yields a tensor of three or more dimensions or of as many values as the frame has
    pixels, whatever their type (8-bit frames are bytes), or a matrix of floats. What is left is shape arithmetic
    (a few integers and booleans, the four scales of a Resize) that ONNX Runtime keeps on the CPU on purpose,
    whatever the provider.

    Args:
        pixels: of the frame that was run.
    """
    nodes = {}
    for event in trace:
        facts = event.get("args", {})
        name = event.get("name", "")
        if event.get("cat") != "Node" or not name.endswith("_kernel_time") or "provider" not in facts:
            continue
        outputs = [(kind, shape) for tensor in facts.get("output_type_shape", []) for kind, shape in tensor.items()]
        if any(len(shape) >= (2 if "float" in kind else 3) or math.prod(shape) >= pixels for kind, shape in outputs):
            nodes[name.removesuffix("_kernel_time")] = (facts["op_name"], facts["provider"])
    return nodes


def check_placement(nodes: dict[str, tuple[str, str]], provider: str, model: str) -> dict[str, int]:
    """Number of compute nodes by provider.

    Raises:
        RuntimeUnavailable: one ran elsewhere than on ``provider``, or none was seen at all.
    """
    strays = [f"{name} ({operator}) on {ran_on}" for name, (operator, ran_on) in nodes.items() if ran_on != provider]
    if strays:
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        raise RuntimeUnavailable(
            f"onnxruntime did not run all of '{model}' on {provider}: {', '.join(strays[:3])}{more}; use --device cpu"
        )
    if not nodes:
        raise RuntimeUnavailable(
            f"onnxruntime reports no compute node for '{model}': cannot prove that {provider} ran it"
        )
    return dict(Counter(ran_on for _, ran_on in nodes.values()))
