"""What a speed is for: a processor, a GPU, the browser or a small device; reports show each by itself."""

from __future__ import annotations

from collections.abc import Iterable

from reconet_bench.core.record import Record

CPU, GPU, BROWSER, SMALL_DEVICE = "CPU", "GPU", "browser", "small device"
#: In the order of reports.
TARGETS = (CPU, GPU, BROWSER, SMALL_DEVICE)
#: Runtimes whose target is not what they were timed on, by the first word of their names.
_OF_RUNTIME = {"onnxruntime-web": BROWSER, "ncnn": SMALL_DEVICE}
#: What each heading leaves open.
NOTES = {
    CPU: "",
    GPU: "",
    BROWSER: "Timed in the page, in a Chromium on this machine.",
    SMALL_DEVICE: "The runtime of phones and boards, timed on the processor of this machine.",
}


def target(record: Record) -> str:
    """What a record of speed is for."""
    found = _OF_RUNTIME.get(record.runtime.partition(":")[0])
    return found or (CPU if record.device in ("cpu", "") else GPU)


def by_target(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records of speed by target, in the order of reports; only targets that were timed."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if not record.video:
            found.setdefault(target(record), []).append(record)
    return {name: found[name] for name in TARGETS if name in found}
