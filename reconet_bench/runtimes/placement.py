"""Which provider of ONNX Runtime each node of a graph ran on, read from the profile that it writes itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reconet_bench.errors import RuntimeUnavailable


def compute_nodes(trace: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Nodes of a profile that work on images: name → (operator, provider).

    A compute node is one that yields a floating-point tensor of two or more dimensions. What is
    left is shape arithmetic (integers, booleans, the four scales of a Resize): a few scalars that
    ONNX Runtime keeps on the CPU on purpose, whatever the provider.
    """
    nodes = {}
    for event in trace:
        facts = event.get("args", {})
        name = event.get("name", "")
        if event.get("cat") != "Node" or not name.endswith("_kernel_time") or "provider" not in facts:
            continue
        outputs = [(kind, shape) for tensor in facts.get("output_type_shape", []) for kind, shape in tensor.items()]
        if any("float" in kind and len(shape) >= 2 for kind, shape in outputs):
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
            f"onnxruntime ran part of '{model}' elsewhere than on {provider}: {', '.join(strays[:3])}{more}; use --device cpu"
        )
    if not nodes:
        raise RuntimeUnavailable(f"onnxruntime reports no compute node for '{model}': cannot prove that {provider} ran it")
    return dict(Counter(ran_on for _, ran_on in nodes.values()))
