"""Records as a Parquet file, for pandas, Polars, DuckDB and R."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path
from reconet_bench.core.record import COLUMNS, Record


def check_parquet() -> None:
    """Raise DataError, with the line to install it, where pyarrow is missing."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise DataError(
            '--parquet needs pyarrow, which is not installed: pip install "reconet-bench[parquet]"'
        ) from None


def write_parquet(path: Path, records: Sequence[Record]) -> None:
    """A row for each number; the columns are the fields of a record, and ``doubts`` is a list of short names."""
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    types = {
        **dict.fromkeys(("value", "ci_low", "ci_high"), pyarrow.float64()),
        **dict.fromkeys(("height", "width", "n"), pyarrow.int64()),
        "doubts": pyarrow.list_(text),
    }
    schema = pyarrow.schema([(column, types.get(column, text)) for column in COLUMNS])
    rows = [{**asdict(record), "doubts": [str(doubt) for doubt in record.doubts]} for record in records]
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), temporary)
