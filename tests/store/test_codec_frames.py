"""Frames: Arrow where that is exact, pickle where it is not, and always the same frame back."""

from typing import Any

import numpy as np
import pytest

from flowlib.store.local import LocalStore

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def frame(**columns: Any) -> Any:
    """Make a pandas frame."""
    return pd.DataFrame(columns)


N = 200
EXACT = {
    "numbers": frame(a=np.arange(N), b=np.arange(N) / 3, c=np.arange(N, dtype="i1"), d=np.arange(N, dtype="f4")),
    "nan and infinity": frame(a=[np.nan, np.inf, -0.0] * N),
    "bool": frame(a=[True, False] * N),
    "text": frame(a=["x", None, "z\r\n", ""] * N),
    "times": frame(a=pd.to_datetime(["2024-01-01", None] * N), b=pd.to_timedelta([1, 2] * N, unit="s")),
    "empty": frame(a=np.array([], "i8")),
}
PICKLED = {
    "objects": frame(a=[1, "a", None, 2.5]),
    "mixed text": frame(a=pd.Series(["a", 1], dtype=object)),
    "categories": frame(a=pd.Categorical(list("aabb"), ordered=True)),
    "zone": frame(a=pd.to_datetime(["2024-01-01"] * 3).tz_localize("Europe/Berlin")),
    "nullable": frame(a=pd.array([1, None, 3], dtype="Int64")),
    "index": frame(a=[1, 2]).set_index(pd.Index([5, 6], name="k")),
    "sliced": frame(a=np.arange(5)).iloc[2:],
    "multi index": frame(a=[1, 2], b=[3, 4], c=[5, 6]).set_index(["a", "b"]),
    "column names": pd.DataFrame(np.ones((2, 2)), columns=[1, 2]),
    "same column twice": pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]),
    "named columns": pd.DataFrame({"a": [1]}).rename_axis(columns="what"),
    "byte order": frame(a=np.arange(3, dtype=">i4")),
    "half": frame(a=np.arange(3, dtype="f2")),
    "no columns": pd.DataFrame(index=range(3)),
    "series": pd.Series([1.0, 2.0], name="s"),
}


def same(a: Any, b: Any) -> None:
    """Fail unless two pandas objects are the same in every respect."""
    assert type(a) is type(b)
    if isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True, check_freq=True)
        return
    pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=True, check_flags=True)
    assert type(a.index) is type(b.index)
    assert type(a.columns) is type(b.columns)
    assert a.attrs == b.attrs


@pytest.mark.parametrize("name", EXACT)
def test_simple_pandas_frames_go_without_pickle(store: LocalStore, name: str) -> None:
    """And come back as they were, writable, and nobody else's."""
    value = EXACT[name]

    payload = store.encode(value)
    loaded: Any = store.load(payload)

    assert payload.codec == "pandas-arrow"
    same(loaded, value)
    if len(value):
        loaded.iloc[0, 0] = loaded.iloc[1, 0]
        loaded["new"] = 1
        same(store.load(payload), value)


@pytest.mark.parametrize("name", PICKLED)
def test_all_other_pandas_objects_go_by_pickle(store: LocalStore, name: str) -> None:
    """Index, names, objects, categories, zones: nothing is lost."""
    value = PICKLED[name]

    payload = store.encode(value)

    assert payload.codec == "pickle5"
    same(store.load(payload), value)


def test_attributes_and_flags_are_kept(store: LocalStore) -> None:
    """They are part of a frame."""
    value = frame(a=[1, 2])
    value.attrs["unit"] = "m"
    strict = frame(a=[1, 2]).set_flags(allows_duplicate_labels=False)

    same(store.load(store.encode(value)), value)
    same(store.load(store.encode(strict)), strict)


def test_polars_frames_come_back(store: LocalStore) -> None:
    """Simple and nested types as Arrow, the rest by polars' own pickle."""
    pl = pytest.importorskip("polars")
    simple = pl.DataFrame({"a": [1, None], "s": ["x", None], "l": [[1], [2, 3]], "d": [{"k": 1}, {"k": None}]})
    other = pl.DataFrame({"c": pl.Series(["a", "b"], dtype=pl.Categorical)})

    for value, codec in ((simple, "polars-arrow"), (other, "pickle5")):
        payload = store.encode(value)
        loaded: Any = store.load(payload)
        assert payload.codec == codec
        assert loaded.schema == value.schema
        assert loaded.equals(value)


def test_arrow_tables_come_back(store: LocalStore) -> None:
    """Schema, metadata and nulls; dictionaries by pickle."""
    pa = pytest.importorskip("pyarrow")
    simple = pa.table({"a": [1, None], "s": ["x", None], "l": [[1], []]}).replace_schema_metadata({"k": "v"})
    other = pa.table({"a": pa.array(["x", "y"]).dictionary_encode()})

    for value, codec in ((simple, "pyarrow-arrow"), (other, "pickle5")):
        payload = store.encode(value)
        loaded: Any = store.load(payload)
        assert payload.codec == codec
        assert loaded.equals(value, check_metadata=True)
