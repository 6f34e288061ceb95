"""What trains the settings of a study: processes here, or a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.engine_option import chosen_place

if TYPE_CHECKING:
    from reconet_bench.training.processes import Runner


@contextlib.contextmanager
def chosen_runner(options: Any, words: Sequence[str], folder: Path, device: str = "auto") -> Iterator[Runner]:
    """The runner that ``--on``, ``--jobs`` and ``--threads`` name.

    Args:
        words: of ``reconet-bench train``; what they name must be on all nodes of a cluster.
        folder: of the study.

    Raises:
        DataError, RuntimeUnavailable: the cluster does not answer, or a node does not see the folder or what is named.
    """
    from reconet_bench.core.machine import pick_device, usable_cpus
    from reconet_bench.training.cluster_runner import ClusterRunner
    from reconet_bench.training.processes import Processes, places

    if options.on is None:
        threads = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
        yield Processes([{**place, **threads} for place in places(options.jobs, words)])
        return
    with chosen_place(options.on) as place:
        runner = ClusterRunner(place, options.threads or usable_cpus(), pick_device(device).type == "cuda")
        runner.check(words, folder)
        yield runner
