"""numpy arrays as `.npy` bytes: any numpy reads such a blob, and loading one never runs code.

Theory of operation: the header is numpy's own, the data follow as they lie in memory, aligned to 64 bytes. A loaded
array sits directly on the bytes it is given, a private copy-on-write map for large ones: nothing is copied, the array
is writable, the file never changes.

Only what the header keeps exactly is encoded: dtype with byte order, shape, C or Fortran order. The rest (objects,
subclasses, dtypes with metadata or of other packages) goes to pickle 5, which moves buffers just as well.
"""

import functools
import io
import math
import struct
from typing import TYPE_CHECKING, Any, Literal

from flowlib.store.files import Buffer

if TYPE_CHECKING:
    import numpy as np

_MAX_HEADER_BYTES = 1 << 20
_HEADER_LENGTH, _HEADER_LENGTH_AT = struct.Struct("<I"), 8  # of version 2.0, behind the magic and the version


def is_array(value: object) -> bool:
    """Say whether a value is a numpy array and no subclass, without importing numpy."""
    kind = type(value)
    return kind.__qualname__ == "ndarray" and kind.__module__ == "numpy"


def encode_array(value: Any) -> list[Buffer] | None:
    """Return the `.npy` parts of an array, its data uncopied where contiguous; None if the format would lose something.

    Cost: about 20 us, and one copy of the data if they are not contiguous.
    """
    import numpy as np

    array: np.ndarray[Any, np.dtype[Any]] = value
    if not _is_exact(array.dtype):
        return None
    fortran = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
    descr: Any = np.lib.format.dtype_to_descr(array.dtype)
    header = (_plain_header if type(descr) is str else _write_header)(descr, fortran, array.shape)
    if not array.nbytes:
        return [header]
    flat = array.T.reshape(-1) if fortran else np.ascontiguousarray(array).reshape(-1)
    return [header, flat.view(np.uint8).data]


def _write_header(descr: Any, fortran: bool, shape: tuple[int, ...]) -> bytes:
    import numpy as np

    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(header, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return header.getvalue()


_plain_header = functools.lru_cache(_write_header)
"""The same, of a dtype without fields, which a text names."""


def _is_exact(dtype: "np.dtype[Any]") -> bool:
    import numpy as np

    if dtype.hasobject or dtype.metadata is not None or type(dtype).__module__ != "numpy.dtypes" or dtype.kind == "T":
        return False
    if dtype.names is None and dtype.subdtype is None:
        return dtype.kind in "biufcmMSUV"
    if "metadata=" in repr(dtype):
        return False
    try:
        again: np.dtype[Any] = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype))
    except ValueError:  # overlapping fields
        return False
    return again == dtype and again.isalignedstruct == dtype.isalignedstruct and repr(again) == repr(dtype)


def decode_array(data: memoryview) -> object:
    """Return the array on verified, writable bytes that nobody else holds. Copies nothing. Cost: 4 us."""
    import numpy as np

    (n_header_bytes,) = _HEADER_LENGTH.unpack_from(data, _HEADER_LENGTH_AT)
    offset = _HEADER_LENGTH_AT + _HEADER_LENGTH.size + n_header_bytes
    header = bytes(data[: min(offset, _MAX_HEADER_BYTES)])
    # A dtype with fields can be given other names by whoever holds it, so it is not shared.
    shape, fortran, dtype = (_read_header if b"[" in header else _read_plain_header)(header)
    order: Literal["F", "C"] = "F" if fortran else "C"
    count = math.prod(shape)
    if not count * dtype.itemsize:
        return np.empty(shape, dtype, order=order)
    return np.frombuffer(data, dtype, count, offset).reshape(shape, order=order)


def _read_header(header: bytes) -> "tuple[tuple[int, ...], bool, np.dtype[Any]]":
    import numpy as np

    stream = io.BytesIO(header)
    version = np.lib.format.read_magic(stream)
    if version != (2, 0):
        raise ValueError(f".npy version {version}")
    return np.lib.format.read_array_header_2_0(stream, max_header_size=_MAX_HEADER_BYTES)


_read_plain_header = functools.lru_cache(_read_header)
"""The same, for what many arrays have in common: numpy parses a header in 60 us."""
