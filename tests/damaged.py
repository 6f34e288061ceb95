"""Damage to a file for hypothesis: cut off, overwritten or filled with rubbish at any place."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FEW = settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

#: Where a file is hit, as a share of its length, and with what.
damage = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 0.999), st.just(b"")),
    st.tuples(st.just("overwrite"), st.floats(0, 0.999), st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("insert"), st.floats(0, 0.999), st.binary(min_size=1, max_size=64)),
)


def harm(data: bytes, how: tuple[str, float, bytes]) -> bytes:
    kind, share, rubbish = how
    at = int(share * len(data))
    return (
        data[:at] + {"cut": b"", "overwrite": rubbish + data[at + len(rubbish) :], "insert": rubbish + data[at:]}[kind]
    )
