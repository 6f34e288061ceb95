"""What a page must know of a model to encode and decode its frames."""

from __future__ import annotations

from typing import Any

from reconet_bench.core.errors import ModelError
from reconet_bench.core.ops import BYTE
from reconet_bench.runtimes.model_source import ModelSource


def page_facts(model: ModelSource) -> dict[str, Any]:
    """Names of input and output, layout, multiple and value ranges, as ``web/page/model.mjs`` reads them.

    Raises:
        ModelError: a page cannot run it: it has state, one size, several frames at once or 8-bit frames.
    """
    reasons = {
        "has inputs beside the frame that carry its state": bool(model.state),
        "is in Python": model.python is not None,
        "takes frames of one size only": bool(model.height or model.width),
        "takes several frames at once": model.batch not in (None, 1) or not model.batched,
        "takes 8-bit frames": model.input_range == BYTE and model.precision == "int8",
    }
    for reason, holds in reasons.items():
        if holds:
            raise ModelError(f"'{model.name}' {reason}: a page cannot run it")
    return {
        "input": model.input_name,
        "output": model.output_name,
        "multiple": model.multiple,
        "layout": model.layout,
        "mean": model.input_range.mean,
        "std": model.input_range.std,
        "bgr": model.input_range.bgr,
        "outMean": model.output_range.mean,
        "outStd": model.output_range.std,
        "outBgr": model.output_range.bgr,
    }
