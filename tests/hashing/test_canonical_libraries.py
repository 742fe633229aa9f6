"""Value digests of numpy, pandas, polars, pyarrow, scipy, torch, scikit-learn: what counts and what leaves no trace."""

# ruff: noqa: DTZ001 - naive datetimes are values, too
import copy
import datetime as dt
import pickle
import subprocess
import sys
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from flowlib.errors import Undigestible
from flowlib.hashing.canonical import digest_value
from flowlib.hashing.digest import size_bytes


def agree(*values: Any) -> bool:
    """Say whether all values have one digest."""
    return len({digest_value(value) for value in values}) == 1


def distinct(*values: Any) -> bool:
    """Say whether all values have different digests."""
    return len({digest_value(value) for value in values}) == len(values)


# ------------------------------------------------------------------------------------------------ numpy

DTYPES = st.one_of(
    arrays.scalar_dtypes(), arrays.unicode_string_dtypes(max_len=4), arrays.byte_string_dtypes(max_len=4),
    arrays.array_dtypes(arrays.scalar_dtypes(), max_size=3),
)  # fmt: skip


@given(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_memory_layout_leaves_no_trace(value: np.ndarray) -> None:
    """Order, byte order, strides, offsets, flags, memory maps: only dtype, shape and content count."""
    swapped = value.astype(value.dtype.newbyteorder("S"))
    spaced = np.empty((*value.shape, 2), value.dtype)
    spaced[..., 1] = value
    frozen = value.copy()
    frozen.flags.writeable = False

    assert agree(
        value, value.copy(), np.asfortranarray(value) if value.ndim else value, swapped, spaced[..., 1], frozen
    )
    assert agree(value, pickle.loads(pickle.dumps(value)))


@given(
    arrays.arrays(st.sampled_from(["i2", "f4", "f8", "U2", "M8[s]", "?"]), arrays.array_shapes(max_side=5)), st.data()
)
def test_every_cell_dtype_and_shape_counts(value: np.ndarray, data: st.DataObject) -> None:
    """One changed cell anywhere is seen."""
    place = data.draw(st.sampled_from(list(np.ndindex(value.shape))))
    changed = value.copy()
    changed[place] = "zz" if value.dtype.kind == "U" else not value[place] if value.dtype.kind == "b" else 77

    assert (digest_value(changed) == digest_value(value)) is (changed.tobytes() == value.tobytes())
    assert distinct(
        value, value.reshape(*value.shape, 1), value[None, None], value.tolist(), (value,), value.astype("O")
    )


def test_arrays_of_any_kind_differ_by_dtype() -> None:
    """Zeros of every type are different arrays."""
    kinds = ["?", "i1", "u1", "i2", "i4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "g", "G", "S1", "S2", "U1", "U2", "V1",
             "M8[s]", "M8[ns]", "m8[s]", "O", [("a", "i4")], [("b", "i4")], [("a", "i4"), ("b", "i4")],
             [("a", "i4", (2,))], [("a", [("b", "i4")])]]  # fmt: skip

    assert distinct(*(np.zeros(2, kind) for kind in kinds))
    assert distinct(*(np.dtype(kind) for kind in kinds))
    assert distinct(
        np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(()), np.array([]).astype("f4"), 0.0, [0.0]
    )


def test_padding_of_records_leaves_no_trace() -> None:
    """Aligned records have bytes between their fields that nobody set."""
    aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    first, second = (np.frombuffer(bytearray([fill]) * (3 * aligned.itemsize), aligned) for fill in (0, 255))
    for made in (first, second):
        made["a"], made["b"] = [1, 2, 3], [0.5, 1.5, 2.5]

    assert first.tobytes() != second.tobytes()
    assert agree(first, second, np.array(first.tolist(), [("a", "i1"), ("b", "f8")]))
    second["b"][1] = 9.0
    assert distinct(first, second, first[0], second[1])


def test_padding_of_long_doubles_leaves_no_trace() -> None:
    """Ten bytes of sixteen count where numbers have 80 bits."""
    first = np.frombuffer(bytearray(64), np.longdouble)
    second = np.frombuffer(bytearray([255]) * 64, np.longdouble)
    first[:], second[:] = 1.5, 1.5

    assert agree(first, second, second[::-1])
    second[2] = 2.5
    assert distinct(first, second)


def test_texts_count_in_whatever_array_they_are() -> None:
    """`StringDType` keeps them behind pointers, object arrays as objects."""
    kinds: list[Any] = [object, "U5"]
    if hasattr(np.dtypes, "StringDType"):  # numpy 2
        kinds += [np.dtypes.StringDType(), np.dtypes.StringDType(na_object=None), np.dtypes.StringDType(coerce=False)]
        assert distinct(*map(np.dtype, kinds))

    assert distinct(*(np.array(["a", text], kind) for kind in kinds for text in ("b", "bc")))
    assert all(agree(*(np.array(["a", "x" * 50, ""], kind) for _ in range(2))) for kind in kinds)
    assert agree(np.array(["a", "b"] * 20, object), np.array(["".join(list("a")), "b"] * 20, object))


def test_masked_arrays_are_mask_data_and_fill_value() -> None:
    """No mask is a mask without marks."""
    data = [1, 2, 3]

    assert distinct(
        np.array(data), np.ma.masked_array(data), np.ma.masked_array(data, [0, 0, 1]), np.ma.masked_array(data, [0, 1, 0]),
        np.ma.masked_array([1, 2, 9], [0, 0, 1]), np.ma.masked_array(data, fill_value=7), np.ma.masked,
    )  # fmt: skip
    assert agree(np.ma.masked_array(data), np.ma.masked_array(data, [0, 0, 0]))


def test_memory_maps_are_arrays(tmp_path: Path) -> None:
    """A stored array that is loaded as a map must have the digest it was stored under."""
    value = np.arange(1000.0)
    np.save(tmp_path / "a.npy", value)

    assert agree(value, np.load(tmp_path / "a.npy", mmap_mode="c"), np.load(tmp_path / "a.npy", mmap_mode="r"))


class Measured(np.ndarray):
    """An array of a user, with a unit."""

    unit = ""


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_array_subclasses_count_with_their_attributes() -> None:
    """Matrix, record array, a user's class and its state."""
    plain = np.array([[1, 2]])
    metres, feet = plain.copy().view(Measured), plain.copy().view(Measured)
    metres.unit, feet.unit = "m", "ft"

    assert distinct(plain, np.matrix(plain), metres, feet, plain.view(Measured))
    assert distinct(np.zeros(1, [("a", "i4")]), np.rec.array([(0,)], [("a", "i4")]))


def test_numpy_scalars_meet_python_where_the_width_is_the_same() -> None:
    """float64, int64, bool, str, bytes, complex128; every other keeps its dtype."""
    assert agree(0.1, np.float64(0.1))
    assert agree(3, np.int64(3))
    assert agree(True, np.True_)
    assert agree("a", np.str_("a"))
    assert agree(b"a", np.bytes_(b"a"))
    assert agree(1j, np.complex128(1j))
    assert distinct(
        *(np.dtype(kind).type(1) for kind in ("i1", "i2", "i4", "i8", "u8", "f2", "f4", "f8", "g", "c8", "c16"))
    )
    assert distinct(np.datetime64(1, "s"), np.datetime64(1, "D"), np.timedelta64(1, "s"), np.datetime64("NaT", "s"))
    assert agree({np.str_("a"): np.int64(1)}, {"a": 1})
    assert agree({np.int64(1): "a"}, {1: "a"})


def test_large_arrays_count_by_their_bytes_and_size() -> None:
    """Contiguous, scattered and swapped arrays beyond one chunk agree, a single cell is seen."""
    value = np.arange(3_000_000, dtype="f8").reshape(1000, 3000)
    changed = value.copy()
    changed[500, 500] += 1

    assert agree(value, np.asfortranarray(value), value.astype(">f8"), np.repeat(value, 2, axis=1)[:, ::2])
    assert distinct(value, changed, value.T)
    assert size_bytes(digest_value(value)) == pytest.approx(value.nbytes, abs=100)


# ------------------------------------------------------------------------------------------------ pandas


def frame(**columns: Any) -> pd.DataFrame:
    """Return a frame of named columns."""
    return pd.DataFrame(columns)


FRAMES: dict[str, Callable[[], Any]] = {
    "int64": lambda: frame(a=[0, 1]),
    "uint8": lambda: frame(a=np.array([0, 1], "u1")),
    "bool": lambda: frame(a=[False, True]),
    "float": lambda: frame(a=[0.0, 1.0]),
    "negative zero": lambda: frame(a=[-0.0, 1.0]),
    "column name": lambda: frame(b=[0, 1]),
    "index": lambda: pd.DataFrame({"a": [0, 1]}, index=[0, 2]),
    "index type": lambda: pd.DataFrame({"a": [0, 1]}, index=pd.Index([0, 1])),
    "index name": lambda: frame(a=[0, 1]).rename_axis("i"),
    "columns name": lambda: frame(a=[0, 1]).rename_axis("c", axis=1),
    "columns of ints": lambda: pd.DataFrame({0: [0, 1]}),
    "columns of texts": lambda: pd.DataFrame({"0": [0, 1]}),
    "double columns": lambda: pd.DataFrame([[0, 0]], columns=["a", "a"]),
    "None": lambda: pd.DataFrame({"a": [None, "x"]}, dtype=object),
    "NaN": lambda: pd.DataFrame({"a": [float("nan"), "x"]}, dtype=object),
    "object 1": lambda: pd.DataFrame({"a": [1, "x"]}, dtype=object),
    "object '1'": lambda: pd.DataFrame({"a": ["1", "x"]}, dtype=object),
    "text": lambda: frame(a=pd.array(["0", "1"], "str")),
    "text, other cell": lambda: frame(a=pd.array(["0", "2"], "str")),
    "text, missing": lambda: frame(a=pd.array(["0", None], "str")),
    "text, python": lambda: frame(a=pd.array(["0", "1"], "string[python]")),
    "text, pyarrow": lambda: frame(a=pd.array(["0", "1"], "string[pyarrow]")),
    "text, arrow type": lambda: frame(a=pd.array(["0", "1"], pd.ArrowDtype(pa.string()))),
    "category": lambda: frame(a=pd.Categorical(["0", "1"])),
    "category, other labels": lambda: frame(a=pd.Categorical(["0", "2"])),
    "category, ordered": lambda: frame(a=pd.Categorical(["0", "1"], ordered=True)),
    "category, unused": lambda: frame(a=pd.Categorical(["0", "1"], categories=["0", "1", "2"])),
    "Int64": lambda: frame(a=pd.array([0, 1], "Int64")),
    "Int64, missing": lambda: frame(a=pd.array([0, None], "Int64")),
    "boolean": lambda: frame(a=pd.array([False, None], "boolean")),
    "Float64": lambda: frame(a=pd.array([0.0, None], "Float64")),
    "naive": lambda: frame(a=pd.to_datetime(["2024-01-01", "2024-01-02"])),
    "UTC": lambda: frame(a=pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("UTC")),
    "Paris": lambda: frame(a=pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("Europe/Paris")),
    "seconds": lambda: frame(a=pd.to_datetime(["2024-01-01", "2024-01-02"]).as_unit("s")),
    "timedelta": lambda: frame(a=pd.to_timedelta([0, 1], "s")),
    "period": lambda: frame(a=pd.period_range("2024-01", periods=2, freq="M")),
    "interval": lambda: frame(a=pd.interval_range(0, 2)),
    "interval, closed": lambda: frame(a=pd.interval_range(0, 2, closed="left")),
    "sparse": lambda: frame(a=pd.arrays.SparseArray([0, 1])),
    "sparse, fill": lambda: frame(a=pd.arrays.SparseArray([0, 1], fill_value=1)),
    "arrow list": lambda: frame(a=pd.array([[1], None], pd.ArrowDtype(pa.list_(pa.int64())))),
    "attrs": lambda: with_attrs(frame(a=[0, 1])),
    "flags": lambda: frame(a=[0, 1]).set_flags(allows_duplicate_labels=False),
    "series": lambda: pd.Series([0, 1]),
    "named series": lambda: pd.Series([0, 1], name="a"),
    "range index": lambda: pd.RangeIndex(2),
    "range index, step": lambda: pd.RangeIndex(0, 4, 2),
    "multi-index": lambda: pd.MultiIndex.from_tuples([(0, "a"), (1, "b")]),
    "multi-index, names": lambda: pd.MultiIndex.from_tuples([(0, "a"), (1, "b")], names=["x", None]),
    "dates": lambda: pd.date_range("2024", periods=3, freq="D"),
    "dates, no freq": lambda: pd.DatetimeIndex(pd.date_range("2024", periods=3, freq="D"), freq=None),
    "category index": lambda: pd.CategoricalIndex(["0", "1"]),
    "empty": pd.DataFrame,
    "empty with index": lambda: pd.DataFrame(index=[1, 2]),
    "Timestamp": lambda: pd.Timestamp("2024-01-01"),
    "Timestamp, nanosecond": lambda: pd.Timestamp("2024-01-01 00:00:00.000000001"),
    "Timestamp, zone": lambda: pd.Timestamp("2024-01-01", tz="Europe/Paris"),
    "datetime": lambda: dt.datetime(2024, 1, 1),
    "Timedelta": lambda: pd.Timedelta(1, "s"),
    "Period": lambda: pd.Period("2024-01", "M"),
    "Interval": lambda: pd.Interval(0, 1),
    "NaT": lambda: pd.NaT,
    "NA": lambda: pd.NA,
    "offset": lambda: pd.offsets.MonthEnd(2),
    "offset, other": lambda: pd.DateOffset(months=2),
    "dtype": lambda: pd.CategoricalDtype(["a"]),
    "dtype, zone": lambda: pd.DatetimeTZDtype("ns", "UTC"),
    "dtype, text": lambda: pd.StringDtype("python"),
}


def with_attrs(made: pd.DataFrame) -> pd.DataFrame:
    """Hang a note on a frame."""
    made.attrs["source"] = "test"
    return made


def test_every_frame_series_and_index_differs_from_every_other() -> None:
    """Types, names, labels, dtypes, cells, missing values, flags."""
    by_digest: dict[str, str] = {}
    for name, make in FRAMES.items():
        assert by_digest.setdefault(digest_value(make()), name) == name


@pytest.mark.parametrize("name", FRAMES)
def test_pandas_objects_are_the_same_when_made_copied_or_loaded_again(name: str) -> None:
    """Two makings, a deep copy and a pickle agree."""
    value = FRAMES[name]()

    assert agree(value, FRAMES[name](), copy.deepcopy(value), pickle.loads(pickle.dumps(value)))


def test_how_pandas_keeps_a_frame_leaves_no_trace() -> None:
    """Blocks, slices, unused levels, caches."""
    together = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"])
    apart = frame(a=[0.0, 2.0, 4.0])
    apart["b"] = [1.0, 3.0, 5.0]
    longer = pd.concat([together, together], ignore_index=True)
    levels = pd.MultiIndex.from_product([["x", "y"], [1, 2]])
    texts = frame(t=["a", "b", None, "c"])

    assert agree(together, apart, longer.iloc[:3], together[["b", "a"]][["a", "b"]])
    assert agree(levels[:2], pd.MultiIndex.from_tuples([("x", 1), ("x", 2)]))
    assert agree(texts.iloc[1:3].reset_index(drop=True), frame(t=["b", None]))
    assert agree(pd.concat([texts, texts], ignore_index=True), frame(t=["a", "b", None, "c"] * 2))


def test_what_lies_under_missing_values_leaves_no_trace() -> None:
    """Masked arrays of pandas keep accidental numbers there."""
    first, second = pd.array([1, 2, 3], "Int64"), pd.array([1, 9, 3], "Int64")
    first[1] = second[1] = pd.NA

    assert agree(first, second)


class Survey(pd.DataFrame):
    """A frame of a user, with a year."""

    _metadata = ["year"]

    @property
    def _constructor(self) -> Any:
        return Survey


def test_frame_subclasses_count_with_their_attributes() -> None:
    """Those that pandas knows about."""
    first, second = Survey({"a": [1]}), Survey({"a": [1]})
    first.year, second.year = 2023, 2024

    assert distinct(frame(a=[1]), first, second)
    assert agree(first, copy.deepcopy(first))


def test_a_refusal_inside_a_frame_names_the_column() -> None:
    """And the row."""
    with pytest.raises(Undigestible) as error:
        digest_value({"data": frame(a=[1, 2], b=np.array([0, iter([])], object))})

    assert error.value.path == "['data']['b'][1]"


# ------------------------------------------------------------------------------------------------ pyarrow, polars

NEW_ARROW = hasattr(pa, "uuid")

COLUMNS: dict[str, list[Any]] = {
    "int": [1, None, 3, 4],
    "float": [0.5, -0.0, None, float("inf")],
    "bool": [True, None, False, False],
    "text": ["a", "", None, "long enough to be kept apart by views"],
    "bytes": [b"a", None, b"", b"bc"],
    "date": [dt.date(2024, 1, 1), None, dt.date(1960, 1, 1), dt.date(2024, 1, 2)],
    "moment": [dt.datetime(2024, 1, 1), None, dt.datetime(2024, 1, 2), dt.datetime(1960, 1, 2)],
    "duration": [dt.timedelta(1), None, dt.timedelta(0), dt.timedelta(-1)],
    "time": [dt.time(1), None, dt.time(2), dt.time(3)],
    "decimal": [Decimal("1.5"), None, Decimal("2.5"), Decimal("-1.0")],
    "list": [[1, 2], None, [], [None]],
    "texts": [["a", None], None, [], ["b"]],
    "struct": [{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}, {"x": 3, "y": None}],
    "deep": [[{"x": [1]}], None, [], [{"x": None}, None]],
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("make", [pa.array, pl.Series], ids=["pyarrow", "polars"])
def test_every_cell_and_null_of_a_column_counts(name: str, make: Any) -> None:
    """Dropping, moving or nulling a cell is seen, and the column is not its list."""
    values = COLUMNS[name]
    turned = [values[3], *values[1:3], values[0]]
    nulled = [values[0], None, None, values[3]]
    dtype = make(values).type if make is pa.array else make(values).dtype
    columns = [make(cells, dtype) if make is pa.array else pl.Series(cells, dtype=dtype) for cells in
               (values, turned, nulled, values[:3], values[1:], [], [None] * 4)]  # fmt: skip

    assert distinct(*columns, values)


@pytest.mark.parametrize("name", COLUMNS)
def test_chunks_offsets_and_hidden_bytes_of_arrow_leave_no_trace(name: str) -> None:
    """However an equal column came about."""
    values = COLUMNS[name]
    whole = pa.array(values)
    sliced = pa.array([values[3], *values, values[0]], whole.type)[1:5]
    by_chunks = [pa.chunked_array(parts, whole.type) for parts in (
        [whole], [whole[:1], whole[1:]], [whole[:3], whole[3:3], whole[3:]], [sliced[:2], sliced[2:]])]  # fmt: skip

    assert agree(whole, sliced, pa.concat_arrays([whole[:2], sliced[2:]]), pickle.loads(pickle.dumps(sliced)))
    assert agree(*by_chunks)
    assert agree(*(pa.table({"a": chunks, "b": chunks}) for chunks in by_chunks))


@pytest.mark.parametrize("name", COLUMNS)
def test_chunks_offsets_and_hidden_bytes_of_polars_leave_no_trace(name: str) -> None:
    """However an equal series came about."""
    values = COLUMNS[name]
    whole = pl.Series("a", values)
    chunked = pl.concat([whole[:1], whole[1:]], rechunk=False)
    sliced = pl.Series("a", [values[3], *values, values[0]], dtype=whole.dtype)[1:5]

    loaded = pickle.loads(pickle.dumps(sliced))
    assert agree(whole, chunked, sliced)
    assert agree(whole, loaded) is (
        loaded.dtype == whole.dtype
    )  # some releases pickle a decimal without precision to one with
    assert agree(whole.to_frame(), chunked.to_frame())


def test_bytes_under_nulls_of_arrow_leave_no_trace() -> None:
    """Buffers keep what was there before a value was nulled."""
    numbers = [pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(np.array([1, hidden, 3]).data)])
               for hidden in (0, 99)]  # fmt: skip

    assert agree(*numbers, pa.array([1, None, 3]))


def test_types_of_columns_count() -> None:
    """Equal cells in another type are another column."""
    types = [pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(5, 0)]
    texts = [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
    if NEW_ARROW:
        texts += [pa.string_view(), pa.binary_view()]
    moments = [
        pa.timestamp("s"),
        pa.timestamp("us"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("us", "Europe/Paris"),
        pa.int64(),
    ]

    assert distinct(*(pa.array([1, None], kind) for kind in types), *(pa.array([], kind) for kind in types))
    assert distinct(*(pa.array(["a", None]).cast(kind) for kind in texts), *texts)
    assert distinct(*(pa.array([5, None]).cast(kind) for kind in moments), *moments)
    assert distinct(
        *(pl.Series([1, None], dtype=kind) for kind in (pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Int128))
    )
    assert distinct(*(pl.Series(["a", None], dtype=kind) for kind in (
        pl.String, pl.Categorical, pl.Enum(["a"]), pl.Enum(["a", "b"]), pl.Object)))  # fmt: skip
    assert distinct(*(pl.Series([], dtype=kind) for kind in (
        pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Duration("us"), pl.Time, pl.Date, pl.List(pl.Int8),
        pl.List(pl.Int16), pl.Array(pl.Int8, 2), pl.Array(pl.Int8, 3), pl.Struct({"a": pl.Int8}), pl.Struct({"b": pl.Int8}),
        pl.Decimal(5, 1), pl.Decimal(5, 2), pl.Null)))  # fmt: skip


def test_encodings_of_arrow_that_have_no_buffers_of_their_own() -> None:
    """Dictionaries by their texts, maps, fixed lists, runs, extension types, nulls."""
    words = pa.array(["a", "b", "a"])
    other = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.int32()), pa.array(["b", "a"]))
    kind = pa.map_(pa.string(), pa.int64())
    maps = [pa.array(cells, kind) for cells in ([[("a", 1)]], [[("a", 2)]], [None], [[]])]
    runs = [pa.RunEndEncodedArray.from_arrays([2, end], [1, 2]) for end in (3, 4)]

    assert agree(words.dictionary_encode(), other)
    assert agree(pa.array([None, [("a", 1)]], kind)[1:], maps[0])
    assert distinct(
        *maps, *runs, pa.nulls(2), pa.nulls(3), pa.array([[1, 2]], pa.list_(pa.int64(), 2)), pa.array([[1, 2]])
    )
    if NEW_ARROW:
        assert distinct(pa.array([b"\0" * 16], pa.uuid()), pa.array([b"\0" * 16], pa.binary(16)))


def test_names_schemas_and_kinds_of_tables_count() -> None:
    """Table, record batch, schema, field, scalar, metadata, order of columns."""
    table = pa.table({"a": [1], "b": ["x"]})

    assert distinct(
        table, table.to_batches()[0], table.rename_columns(["a", "c"]), table.select(["b", "a"]), table.slice(0, 0),
        table.replace_schema_metadata({"k": "v"}), table.schema, table.schema.field("a"), table["a"], table["a"].chunk(0),
        table["a"][0], pa.scalar(1, pa.int8()), pa.schema([pa.field("a", pa.int64(), nullable=False)]),
    )  # fmt: skip
    assert distinct(pa.array([{"a: int32, b": 1}]), pa.array([{"a": 1, "b": 1}]))
    both = pl.DataFrame({"a": [1], "b": ["x"]})
    assert distinct(
        both, both.select("b", "a"), both.rename({"a": "c"}), both.clear(), pl.Series("a", [1]), pl.Series("b", [1])
    )


def test_plans_of_polars_are_refused_with_the_fix() -> None:
    """A lazy frame is not a value."""
    with pytest.raises(Undigestible, match=r"\.collect\(\)"):
        digest_value([pl.DataFrame({"a": [1]}).lazy()])


# ------------------------------------------------------------------------------------------------ others


def test_sparse_matrices_count_by_format_and_stored_entries() -> None:
    """Same zeros, another format: another value."""
    dense = np.array([[0.0, 1.0], [2.0, 0.0]])
    formats = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]
    made = [getattr(sp, f"{name}_{kind}")(dense) for name in formats for kind in ("array", "matrix")]
    changed = [getattr(sp, f"{name}_array")(dense * 2) for name in formats]

    assert distinct(*made, *changed, dense)
    for matrix in made:
        before = digest_value(matrix)
        matrix.sum(axis=0)
        assert matrix.tocsr().has_sorted_indices in (0, 1, True, False)
        assert agree(matrix, matrix.copy())
        assert digest_value(matrix) == before


def test_estimators_count_by_parameters_and_what_they_learned() -> None:
    """Linear models, pipelines, forests."""
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2

    def forest(seed: int) -> Any:
        return RandomForestClassifier(n_estimators=2, random_state=seed).fit(x, y)

    assert agree(Ridge(alpha=1.0), Ridge(alpha=1.0))
    assert agree(forest(0), forest(0), pickle.loads(pickle.dumps(forest(0))))
    assert distinct(Ridge(), Ridge(alpha=2.0), Ridge().fit(x, y), make_pipeline(Ridge()), forest(0), forest(1))


def test_tensors_count_by_type_shape_place_and_content() -> None:
    """Strides and offsets leave no trace; modules count by their parameters."""
    torch = pytest.importorskip("torch")
    plain = torch.arange(6.0).reshape(2, 3)

    def module(seed: int) -> Any:
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())

    assert agree(plain, plain.clone(), torch.stack([plain, plain + 1])[0], plain.t().contiguous().t())
    assert agree(module(0), module(0), copy.deepcopy(module(0)))
    assert distinct(
        plain, plain + 1, plain.t(), plain.reshape(6), plain.double(), plain.bfloat16(), plain.clone().requires_grad_(),
        torch.nn.Parameter(plain), plain.to_sparse(), plain.numpy(), plain.tolist(), torch.tensor(0), torch.tensor([]),
        torch.complex(plain, plain), torch.complex(plain, plain).conj(), torch.float32, torch.device("cpu"), torch.Size([2, 3]),
        module(0), module(1), module(0).eval(),
    )  # fmt: skip


def test_no_library_is_imported_to_recognise_a_type() -> None:
    """Digesting plain data loads nothing."""
    code = (
        "import sys; from flowlib.hashing.canonical import digest_value; digest_value({'a': [1, {2.0}]});"
        "print([name for name in ('numpy', 'pandas', 'polars', 'pyarrow', 'torch', 'scipy', 'sklearn', 'pydantic')"
        " if name in sys.modules])"
    )
    root = str(Path(__file__).parents[2])
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)

    assert found.stdout.strip() == "[]"


def test_zones_of_pandas_count_by_name() -> None:
    """A text and a zone object lead to the same zone."""
    named = [pd.Timestamp("2024-07-01", tz=zone) for zone in ("Europe/Paris", zoneinfo.ZoneInfo("Europe/Paris"))]

    assert agree(*named) is (type(named[0].tz) is type(named[1].tz))  # in pandas 2 a text meant a zone of pytz
    assert agree(
        named[0],
        pd.Timestamp("2024-01-01", tz="Europe/Paris") + (named[0] - pd.Timestamp("2024-01-01", tz="Europe/Paris")),
    )
