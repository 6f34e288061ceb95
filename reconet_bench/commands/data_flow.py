"""``reconet-bench data flow``: estimate motion before it is needed, on many machines if there are some."""

from __future__ import annotations

from functools import partial
from typing import Any

from reconet_bench.commands.base import out, selection, warn
from reconet_bench.commands.engine_option import chosen_place
from reconet_bench.core.errors import DataError


def keep_flows(options: Any) -> None:
    """Fill the cache with the estimated motion of clips.

    Raises:
        ReconetBenchError: no such clip or estimator, or none whose motion is estimated.
    """
    import torch

    from reconet_bench.core.machine import cache_folder, usable_cpus
    from reconet_bench.core.place import Call
    from reconet_bench.core.sent_files import write_folder
    from reconet_bench.data.fingerprints import fingerprints
    from reconet_bench.data.flow.base import EstimatedClip
    from reconet_bench.data.kept_flow import keep_flow
    from reconet_bench.data.selection import NO_FLOW

    if options.flow == NO_FLOW:
        raise DataError("--flow none turns estimation off: give dis or raft")
    found = selection(options).found(options.videos)
    wanted = [address.absolute() for clip, address in found.items() if isinstance(clip, EstimatedClip)]
    if not wanted:
        raise DataError("no clip with motion to estimate: name footage with --videos, or give --flow dis")
    if not options.flow:
        for clip in found:
            if clip.starts() and not isinstance(clip, EstimatedClip):
                warn(f"{clip.name} has true flow: give --flow dis to estimate it all the same")
    cores, threads = options.threads or usable_cpus(), options.threads or torch.get_num_threads()
    folder = cache_folder() / "flow"
    with chosen_place(options.on) as place:
        place.check(partial(fingerprints, wanted), cores)
        calls = [Call(one.title, one.title, keep_flow, (one, threads, options.on is not None), cores) for one in wanted]
        for title, _, kept in place.each(calls):
            write_folder(folder, kept.files)
            out.print(f"{title}: {kept.pairs} pairs, {kept.estimated} estimated now", markup=False)
    out.print(f"The motion of {len(wanted)} clip{'s' * (len(wanted) != 1)} is in {folder}", markup=False)
