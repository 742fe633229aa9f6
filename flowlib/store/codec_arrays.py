"""numpy arrays as `.npy` bytes: any numpy reads such a blob, and loading one never runs code.

Theory of operation: the header is numpy's own, the data follow as they lie in memory, aligned to 64 bytes. A loaded
array sits directly on the bytes it is given, a private copy-on-write map for large ones: nothing is copied, the array
is writable, the file never changes.

Only what the header keeps exactly is encoded: dtype with byte order, shape, C or Fortran order. The rest (objects,
subclasses, dtypes with metadata or of other packages) goes to pickle 5, which moves buffers just as well.
"""

import io
from typing import TYPE_CHECKING, Any

from flowlib.store.files import Buffer

if TYPE_CHECKING:
    import numpy as np

_MAX_HEADER_BYTES = 1 << 20


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
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(
        header,
        {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": fortran, "shape": array.shape},
    )
    if not array.nbytes:
        return [header.getvalue()]
    flat = array.T.reshape(-1) if fortran else np.ascontiguousarray(array).reshape(-1)
    return [header.getvalue(), flat.view(np.uint8).data]


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
    """Return the array on verified, writable bytes that nobody else holds. Copies nothing."""
    import numpy as np

    header = io.BytesIO(data[: min(len(data), _MAX_HEADER_BYTES)])
    version = np.lib.format.read_magic(header)
    if version != (2, 0):
        raise ValueError(f".npy version {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_2_0(header, max_header_size=_MAX_HEADER_BYTES)
    count = 1
    for length in shape:
        count *= length
    if not count * dtype.itemsize:
        return np.empty(shape, dtype, order="F" if fortran else "C")
    array = np.frombuffer(data, dtype, count, header.tell())
    return array.reshape(shape, order="F" if fortran else "C")
