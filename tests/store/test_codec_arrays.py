"""Arrays: dtype, shape, order and bits survive; a loaded array is private and writable."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.store.codec_arrays import decode_array, encode_array, is_array
from flowlib.store.local import LocalStore

DTYPES = [
    "?",
    "i1",
    "<u2",
    ">i4",
    "i8",
    "f2",
    "<f4",
    ">f8",
    "g",
    "c8",
    ">c16",
    "M8[ns]",
    "m8[us]",
    "M8[D]",
    "S5",
    "U3",
    "V7",
]
SHAPES = [(), (0,), (1,), (7,), (3, 4), (2, 0, 3), (2, 3, 4)]


def join(parts: list[Any]) -> memoryview:
    """Return the bytes a store would hand to a decoder."""
    return memoryview(bytearray(b"".join(parts)))


def make(dtype: str, shape: tuple[int, ...], order: Any) -> Any:
    """Make an array with varied bits."""
    kind = np.dtype(dtype)
    n_bytes = int(np.prod(shape)) * kind.itemsize
    data = np.frombuffer(bytes(i * 7 % 128 for i in range(n_bytes)), "u1")
    array = (data % 2).view("?") if kind == "?" else data.view(kind) if n_bytes else np.empty(0, kind)
    return np.array(array.reshape(shape), order=order)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...], order: str) -> None:
    """Every dtype without objects, with its byte order; C and Fortran order; zero dimensions and zero elements."""
    array = make(dtype, shape, order)
    parts = encode_array(array)
    assert parts is not None

    loaded: Any = decode_array(join(parts))

    assert type(loaded) is np.ndarray
    assert (loaded.dtype, loaded.shape, loaded.dtype.byteorder) == (array.dtype, array.shape, array.dtype.byteorder)
    assert loaded.tobytes() == array.tobytes()
    assert loaded.flags.f_contiguous == array.flags.f_contiguous
    assert loaded.flags.writeable


def test_the_bytes_are_a_npy_file() -> None:
    """Any numpy can read a blob."""
    array = np.arange(12.0).reshape(3, 4).T
    parts = encode_array(array)
    assert parts is not None

    assert np.array_equal(np.load(io.BytesIO(b"".join(parts)), allow_pickle=False), array)


@pytest.mark.parametrize("view", [lambda a: a[::2], lambda a: a[:, 1:3], lambda a: a[::-1], lambda a: a[:, None, ::-2]])
def test_a_view_is_stored_by_its_elements(view: Callable[[Any], Any]) -> None:
    """Strides do not matter, and the rest of the base is not stored."""
    array = view(np.arange(600.0).reshape(30, 20))
    parts = encode_array(array)
    assert parts is not None

    loaded: Any = decode_array(join(parts))

    assert np.array_equal(loaded, array)
    assert sum(map(len, parts)) == 128 + array.nbytes


NOT_EXACT = {
    "objects": np.array([1, "a"], dtype=object),
    "objects in fields": np.zeros(2, dtype=[("a", "O")]),
    "dtype with metadata": np.zeros(2, dtype=np.dtype("i4", metadata={"unit": "m"})),
    "variable strings": np.array(["a", "b"], dtype=np.dtypes.StringDType()),
}


@pytest.mark.parametrize("name", NOT_EXACT)
def test_what_the_format_would_lose_is_left_to_pickle(store: LocalStore, name: str) -> None:
    """And comes back from there."""
    array = NOT_EXACT[name]

    payload = store.encode(array)
    loaded: Any = store.load(payload)

    assert payload.codec == "pickle5"
    assert loaded.dtype == array.dtype
    assert loaded.dtype.metadata == array.dtype.metadata
    assert loaded.tolist() == array.tolist()


def test_subclasses_are_left_to_pickle(store: LocalStore) -> None:
    """A masked array keeps its mask."""
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    assert not is_array(masked)

    loaded: Any = store.load(store.encode(masked))

    assert type(loaded) is type(masked)
    assert loaded.mask.tolist() == [True, False]


STRUCTURED = [
    np.dtype([("a", "<i4"), ("b", ">f8"), ("c", "S3")]),
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    np.dtype({"names": ["a", "b"], "formats": ["i4", "f4"], "offsets": [8, 0], "itemsize": 24}),
    np.dtype([("outer", [("inner", "f4", (2, 3))]), ("x", "u1")]),
]


@pytest.mark.parametrize("dtype", STRUCTURED, ids=str)
def test_structured_arrays_come_back(store: LocalStore, dtype: Any) -> None:
    """Offsets, alignment and nesting included, by whichever codec is exact."""
    array = np.zeros(5, dtype)
    array[dtype.names[0]][1:2] = 1

    loaded: Any = store.load(store.encode(array))

    assert loaded.dtype == dtype
    assert loaded.dtype.isalignedstruct == dtype.isalignedstruct
    assert loaded.tobytes() == array.tobytes()


@given(st.binary(max_size=300))
def test_damaged_headers_raise_and_run_nothing(data: bytes) -> None:
    """Decoding verified bytes of another version fails cleanly."""
    parts = encode_array(np.arange(3))
    assert parts is not None
    head = bytes(parts[0])

    for bad in (data, head[: len(data) % 128] + data):
        try:
            decode_array(join([bad]))
        except Exception as error:
            assert not isinstance(error, SystemError)  # noqa: PT017


@pytest.mark.parametrize("n", [10, 5000, 200_000])
def test_a_loaded_array_is_private(store: LocalStore, n: int) -> None:
    """Writing to it changes neither the file nor what others load; inline, read and mapped alike."""
    payload = store.encode(np.arange(n))
    one: Any = store.load(payload)
    two: Any = store.load(payload)

    one[:] = -1

    assert two[5] == 5
    again: Any = store.load(payload)
    assert np.array_equal(again, np.arange(n))


def test_arrays_in_containers_lie_on_their_buffers(store: LocalStore) -> None:
    """A dict of arrays is loaded without copying them: they are views of one private map."""
    value = {"a": np.arange(50_000.0), "b": [np.ones((100, 100), order="F")], "n": 3}

    payload = store.encode(value)
    loaded: Any = store.load(payload)

    assert payload.codec == "pickle5"
    assert np.array_equal(loaded["a"], value["a"])
    assert loaded["b"][0].flags.f_contiguous
    assert loaded["a"].flags.writeable
    assert not loaded["a"].flags.owndata
    assert loaded["a"].ctypes.data % 64 == 0
    loaded["a"][:] = 0
    again: Any = store.load(payload)
    assert again["a"][7] == 7.0


def test_a_map_outlives_its_blob(store: LocalStore) -> None:
    """A collection or quarantine beside a running task takes nothing from it."""
    array = np.arange(300_000)
    payload = store.encode(array)
    loaded: Any = store.load(payload)

    store.blobs.quarantine(store.blobs.path_of(payload.content))

    assert np.array_equal(loaded, array)


def test_arrays_with_one_layout_share_nothing(store: LocalStore) -> None:
    """The layout is read once for many of them; fields can be renamed in place, and are not shared."""
    first, second = (store.load(store.encode(np.zeros(3, [("a", "i4")]))) for _ in range(2))
    first.dtype.names = ("b",)  # type: ignore[attr-defined]
    assert second.dtype.names == ("a",)  # type: ignore[attr-defined]
    assert store.load(store.encode(np.zeros(3, [("a", "i4")]))).dtype.names == ("a",)  # type: ignore[attr-defined]

    for order in "CF":
        for shape in [(2, 3), (3, 2)]:
            value = np.arange(6.0).reshape(shape, order=order)  # type: ignore[call-overload]
            loaded: Any = store.load(store.encode(value))
            np.testing.assert_array_equal(loaded, value)
            assert loaded.strides == value.strides
