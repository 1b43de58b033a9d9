"""Writes the files that the tests of plugins/parquet read, as Arrow's Python package writes them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/parquet_files.py
"""

import datetime
import decimal
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

FOLDER = Path("plugins/parquet/tests")


def types():
    """Three rows of every type; the second one is null."""
    when = datetime.datetime(2001, 9, 9, 1, 46, 40, 250000)
    columns = {
        "int8": pa.array([-1, None, 2], pa.int8()),
        "uint32": pa.array([4294967295, None, 2], pa.uint32()),
        "uint64": pa.array([18446744073709551615, None, 2], pa.uint64()),
        "float16": pa.array([0.5, None, -2.0], pa.float16()),
        "float": pa.array([0.5, None, -2.0], pa.float32()),
        "double": pa.array([0.1, None, float("nan")], pa.float64()),
        "decimal": pa.array([decimal.Decimal("-12.34"), None, decimal.Decimal("5.00")], pa.decimal128(9, 2)),
        "wide": pa.array([decimal.Decimal("-12345678901234567890.5"), None, decimal.Decimal("0.5")], pa.decimal128(30, 1)),
        "date": pa.array([datetime.date(1970, 1, 11), None, datetime.date(1969, 12, 31)]),
        "seconds": pa.array([when, None, when], pa.timestamp("ms")),
        "micros": pa.array([when, None, when], pa.timestamp("us", tz="UTC")),
        "nanos": pa.array([when, None, when], pa.timestamp("ns")),
        "time": pa.array([datetime.time(1, 0, 0, 500000), None, datetime.time(2)], pa.time64("us")),
        "truth": pa.array([True, None, False]),
        "text": pa.array([" b ", None, "a"]),
        "dictionary": pa.array(["v", None, "u"]).dictionary_encode(),
        "structure": pa.array([{"inner": 7}, None, {"inner": 8}]),
        "list": pa.array([[1, 2], None, []]),
        "y": pa.array([1.5, 2.5, 3.5]),
    }
    return pa.table(columns)


def lists():
    """Rows with lists of one length and of several, and bytes; also as JSON lines, as far as those can hold them."""
    rows = []
    for row in range(60):
        count = row * 7 % 5
        rows.append(
            {
                "number": row % 9 / 4,
                "embedding": [(row * 3 + at * 5) % 16 / 8 - 1 for at in range(4)] if row % 11 else None,
                "tokens": [(row + at * at) % 23 for at in range(count)],
                "series": [None if (row + at) % 6 == 0 else at / 2 for at in range(count)] if row % 13 else None,
                "flags": [row % 2 == 0, row % 3 == 0],
                "label": "abc"[row % 3],
            }
        )
    table = pa.table(
        {
            "number": pa.array([row["number"] for row in rows], pa.float64()),
            "embedding": pa.array([row["embedding"] for row in rows], pa.list_(pa.float32(), 4)),
            "tokens": pa.array([row["tokens"] for row in rows], pa.large_list(pa.int32())),
            "series": pa.array([row["series"] for row in rows], pa.list_(pa.float64())),
            "flags": pa.array([row["flags"] for row in rows], pa.list_(pa.field("item", pa.bool_(), nullable=False))),
            "label": pa.array([row["label"] for row in rows]),
            "blob": pa.array([bytes(range(250, 250 + row % 4)) if row % 5 else None for row in range(60)], pa.binary()),
            "digest": pa.array([b" \x00\xff "] * 60, pa.binary(4)),
            "deep": pa.array([[[1]]] * 60),
            "texts": pa.array([["a"]] * 60),
            "map": pa.array([[("a", 1)]] * 60, pa.map_(pa.string(), pa.int32())),
        }
    )
    return table, "".join(json.dumps(row) + "\n" for row in rows)


def main():
    table, lines = lists()
    pq.write_table(table, FOLDER / "lists.parquet", row_group_size=25)
    (FOLDER / "lists.jsonl").write_text(lines)
    pq.write_table(types(), FOLDER / "types.parquet", row_group_size=2)
    for codec in ("none", "snappy", "gzip", "zstd", "lz4"):
        pq.write_table(types().select(["double", "text", "y"]), FOLDER / f"{codec}.parquet", compression=codec)
    penguins = pyarrow.csv.read_csv(
        "docs/examples/runs/penguins.csv",
        convert_options=pyarrow.csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True),
    )
    pq.write_table(penguins, FOLDER / "penguins.parquet", row_group_size=100)


if __name__ == "__main__":
    main()
