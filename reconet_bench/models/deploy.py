"""The deploy form of an export: a cheaper graph with the same frames, by the rewrites of ``models/rewrites``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconet_bench.core.errors import ModelError
from reconet_bench.models.rewrites.base import REWRITES, EditableGraph

if TYPE_CHECKING:
    import onnx

#: The network as it was trained, and rewritten.
PLAIN, DEPLOY = "plain", "deploy"


def rewrite(model: onnx.ModelProto, called: str) -> dict[str, int]:
    """Rewrite an fp32 export in place, by every rewrite that fits.

    Args:
        called: what messages call the model.

    Returns:
        In how many places each rewrite was made, by its name.

    Raises:
        ModelError: none fits.
    """
    graph = EditableGraph(model)
    made = {name: one.apply(graph) for name, one in REWRITES.items()}
    if not any(made.values()):
        raise ModelError(
            f"'{called}': the deploy form rewrites nothing in this network: export it without --form deploy"
        )
    graph.finish()
    return {name: count for name, count in made.items() if count}
