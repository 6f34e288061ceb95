"""Where the numbers of a comparison come from: models, videos, loss network and machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconet_bench.benchmark.content_frames import ContentFrames
from reconet_bench.benchmark.plan import Plan
from reconet_bench.core.errors import DataError
from reconet_bench.core.machine import usable_cpus
from reconet_bench.core.provenance import checksum, describe
from reconet_bench.core.statistics import VERSION
from reconet_bench.data.clip import Clip
from reconet_bench.metrics.base import METRICS
from reconet_bench.metrics.measure import chosen_metrics
from reconet_bench.networks.vgg import find_weights


def provenance(plan: Plan, seed: int, decode: bool = True) -> dict[str, Any]:
    """Where the numbers come from: machine, versions, commit, seed, and checksums of models and videos.

    Args:
        decode: clips that have not been decoded yet, for their checksums; else these have none.
    """
    loss_network = find_weights(plan.vgg)
    return {
        **describe(),
        "threads": plan.resources.threads or usable_cpus(),
        "seed": seed,
        "statistics": VERSION,
        "metrics": {name: metric.version for name, metric in METRICS.items() if metric.version > 1},
        "explained": _explained(plan),
        "models": {model.source.name: model.checksum for model in plan.models},
        "videos": {clip.title: _video_facts(clip, plan.content, decode) for clip in plan.clips},
        "loss_network": checksum(loss_network) if loss_network and loss_network.is_file() else None,
    }


def _explained(plan: Plan) -> dict[str, dict[str, Any]]:
    """What each metric is and cannot see; a long list is ``shown`` only as far as it was asked for by name."""
    return {
        name: {
            "summary": metric.summary,
            "blind_to": metric.blind_to,
            "shown": metric.default or name in plan.metrics,
        }
        for name in chosen_metrics(plan.metrics)
        if not (metric := METRICS[name]).detail
    }


def _video_facts(clip: Clip, content: ContentFrames, decode: bool) -> dict[str, Any]:
    """Source and size, and a checksum of all frames as they were measured; of a clip that breaks, why there is none."""
    facts = {"source": clip.source, "frames": len(clip), "size": list(clip.size)}
    if not decode and not content.decoded(clip):
        return facts
    try:
        return {**facts, "pixels": content.digest(clip)}
    except DataError as error:
        return {**facts, "broken": str(error)}


def what_changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What of a run is not as it was, so that its numbers would not be the same, in words; ``None`` if nothing.

    Args:
        then, now: provenance, of which clips may lack the checksum.
    """
    for package, version in {**then.get("versions", {}), **now["versions"]}.items():
        old, new = (facts.get("versions", {}).get(package, "none") for facts in (then, now))
        if old != new:
            return f"the run was begun with {package} {old}, and here is {version if new != 'none' else new}"
    if then.get("commit") != now.get("commit"):
        return f"the run was begun with commit {str(then.get('commit'))[:12]} of reconet-bench"
    for name in {**then.get("models", {}), **now["models"]}:
        if then.get("models", {}).get(name) != now["models"].get(name):
            return f"the model {name} has changed"
    if then.get("loss_network") != now["loss_network"]:
        return "the loss network is another one"
    for title in {**then.get("videos", {}), **now["videos"]}:
        old, new = (_header(facts.get("videos", {}).get(title, {})) for facts in (then, now))
        if old != new:
            return f"{title} has changed"
    if then.get("threads") != now["threads"]:
        return f"the run was begun with {then.get('threads')} threads, and here are {now['threads']}"
    return None


def another_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How the machine differs from that of a run, in words; ``None`` where it does not."""
    for part, what in (("cpu", "processor"), ("gpu", "GPU"), ("cpus", "number of cores")):
        if then.get(part) != now[part]:
            return f"the {what} of the run was {then.get(part)}, and here it is {now[part]}"
    return None


def _header(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts.get(name) for name in ("source", "frames", "size")}
