"""Records read back, of this version or an older one: what has changed since is told here and nowhere else.

Older records have no ``flow`` and no ``doubts``, and the oldest no ``model``: a clip of estimated motion was called
``holiday~dis``, and doubts were sentences in the note, joined by semicolons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from reconet_bench.core.doubts import Doubt
from reconet_bench.core.record import Record, clip_title

#: The estimators that older versions had; a ``~`` before anything else belongs to the clip's own name.
_OLD_CLIP = re.compile(r"(?P<video>.+)~(?P<flow>dis|raft)", re.DOTALL)
#: The form of :func:`~reconet_bench.core.record.clip_title`, for those estimators.
_TITLE = re.compile(r"(?P<video>.+) \((?P<flow>DIS|RAFT) flow\)", re.DOTALL)
#: What notes said.
_SENTENCES = {
    r"changed output": Doubt.CHANGED_OUTPUT,
    r"unstable\b.*": Doubt.UNSTABLE,
    r"never got warm\b.*": Doubt.COLD,
    r"other work took .* of the processor meanwhile": Doubt.BUSY,
    r"torch: unstable\b.*": Doubt.REFERENCE_UNSTABLE,
    r"torch: never got warm\b.*": Doubt.REFERENCE_COLD,
    r"torch: other work took .*": Doubt.REFERENCE_BUSY,
    r"trained on this sequence: not a fair test": Doubt.TRAINED_ON_VIDEO,
    r"trained on the photographs in this clip: not a fair test": Doubt.TRAINED_ON_PHOTOGRAPHS,
    r"estimated flow \(\w+\)": Doubt.ESTIMATED_FLOW,
}
#: Version of each metric whose definition has changed. A run notes the versions it was made with.
REDEFINED = {"style_distance": 2}


def salvage_jsonl(text: str) -> tuple[list[Record], list[str]]:
    """What can be read of JSON lines of any version, and a line about each that cannot: a run may have been cut short.

    Unknown keys are dropped, missing ones take their default. Text that looks like a number is not one, and neither are
    NaN, infinity and what is beyond :data:`~reconet_bench.core.record.LARGEST`.
    """
    records, broken = [], []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
            records.append(msgspec.convert(_updated(fields), Record))
        except msgspec.MsgspecError as error:
            broken.append(f"line {number}: not a record ({error})")
    return records, broken


def _updated(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record of any version, as this version has them; broken ones stay as they are."""
    fields = {**fields, "model": fields.get("model") or fields.get("method", "")}
    if "flow" not in fields and (old := _OLD_CLIP.fullmatch(str(fields.get("video")))):
        fields |= old.groupdict()
    if "doubts" not in fields and isinstance(fields.get("note"), str):
        pieces = fields["note"].split("; ")
        known = {piece: doubt for piece in pieces if (doubt := _doubt(piece))}
        fields["note"] = "; ".join(piece for piece in pieces if piece not in known)
        fields["doubts"] = list(known.values())
    return fields


def _doubt(piece: str) -> Doubt | None:
    return next((doubt for pattern, doubt in _SENTENCES.items() if re.fullmatch(pattern, piece)), None)


def dated_metric(metric: str, versions: Mapping[str, int]) -> str:
    """The name of a metric in a run: with its version in it, if its definition has changed since.

    Args:
        versions: of the metrics whose definition had changed when the run was made, by name.
    """
    version = versions.get(metric, 1)
    return metric if version == REDEFINED.get(metric, 1) else f"{metric}_v{version}"


def updated_title(title: str) -> str:
    """The title of a clip in a table of any version, as this version has it."""
    old = _OLD_CLIP.fullmatch(title)
    return clip_title(old["video"], old["flow"]) if old else title


def old_title(title: str) -> str:
    """What older versions called a clip: the name of its folders of pictures."""
    new = _TITLE.fullmatch(title)
    return f"{new['video']}~{new['flow'].lower()}" if new else title
