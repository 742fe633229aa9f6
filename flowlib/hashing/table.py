"""Which encoder a type has.

Order, the first that fits: types of exactly the tables here; a node of the graph (refused); a registration by the user;
a `__flowlib_digest__` method; tasks, classes, enums; types of known libraries, which are recognised by module and name
and so never imported; the plain-object rule of `objects`, which refuses what it cannot see into.
"""

import array
import collections
import datetime as dt
import enum
import functools
import io
import operator
import pathlib
import re
import types
import uuid
import zoneinfo
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import partial
from types import MappingProxyType

from flowlib.hashing import arrays, arrow, callables, file, frames, objects, plain, polars_frames, standard, tensors
from flowlib.hashing.encoding import Encoder, Made, Node, Refused, Walk
from flowlib.hashing.leaf import DigestLeaf, encode_leaf
from flowlib.hashing.registry import REGISTRY

EXACT: Mapping[type, Encoder] = {
    bytearray: plain.encode_bytearray,
    memoryview: standard.encode_memoryview,
    list: plain.encode_list,
    tuple: plain.encode_tuple,
    dict: plain.encode_dict,
    set: plain.encode_set,
    frozenset: plain.encode_frozenset,
    collections.OrderedDict: plain.encode_ordered_dict,
    collections.defaultdict: plain.encode_defaultdict,
    collections.Counter: plain.encode_counter,
    collections.deque: plain.encode_deque,
    Made: plain.encode_made,
    DigestLeaf: encode_leaf,
    range: standard.encode_range,
    slice: standard.encode_slice,
    type(...): standard.encode_ellipsis,
    array.array: standard.encode_array,
    types.SimpleNamespace: standard.encode_namespace,
    types.MappingProxyType: standard.encode_mapping_proxy,
    dt.datetime: standard.encode_datetime,
    dt.date: standard.encode_date,
    dt.time: standard.encode_time,
    dt.timedelta: standard.encode_timedelta,
    dt.timezone: standard.encode_timezone,
    zoneinfo.ZoneInfo: standard.encode_zone,
    Decimal: standard.encode_decimal,
    Fraction: standard.encode_fraction,
    uuid.UUID: standard.encode_uuid,
    re.Pattern: standard.encode_pattern,
    **dict.fromkeys(
        [pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath],
        standard.encode_path,
    ),
    types.FunctionType: callables.encode_function,
    types.BuiltinFunctionType: callables.encode_builtin,
    types.MethodType: callables.encode_method,
    types.MethodWrapperType: callables.encode_builtin,
    types.ModuleType: callables.encode_module,
    **dict.fromkeys(
        [types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType],
        callables.encode_descriptor,
    ),
    functools.partial: callables.encode_partial,
    type(functools.lru_cache(len)): callables.encode_memoized,
    **dict.fromkeys([operator.itemgetter, operator.attrgetter, operator.methodcaller], callables.encode_getter),
    file.File: file.encode_file,
    file.Dir: file.encode_dir,
}
"""Beside `plain.SCALARS`, the types that are recognised by what they are exactly; a plain dict for speed, too."""

# (top-level package, class): encoders for the class and the package's own subclasses of it.
_LIBRARIES: Mapping[tuple[str, str], Encoder] = MappingProxyType(
    {
        ("numpy", "MaskedArray"): arrays.encode_masked_array,
        ("numpy", "ndarray"): arrays.encode_array,
        ("numpy", "generic"): arrays.encode_scalar,
        ("numpy", "dtype"): arrays.encode_dtype,
        ("numpy", "ufunc"): callables.encode_compiled,
        ("numpy", "_ArrayFunctionDispatcher"): callables.encode_compiled,
        ("numpy", "Generator"): arrays.encode_generator,
        ("numpy", "RandomState"): arrays.encode_generator,
        ("numpy", "BitGenerator"): arrays.encode_generator,
        ("scipy", "_spbase"): arrays.encode_sparse,
        ("scipy", "spmatrix"): arrays.encode_sparse,
        ("pandas", "DataFrame"): frames.encode_frame,
        ("pandas", "Series"): frames.encode_series,
        ("pandas", "Index"): frames.encode_index,
        ("pandas", "ExtensionArray"): frames.encode_extension_array,
        ("pandas", "ExtensionDtype"): frames.encode_dtype,
        ("pandas", "Timestamp"): frames.encode_timestamp,
        ("pandas", "Timedelta"): frames.encode_timedelta,
        ("pandas", "Period"): frames.encode_period,
        ("pandas", "Interval"): frames.encode_interval,
        ("pandas", "NaTType"): frames.encode_missing,
        ("pandas", "NAType"): frames.encode_missing,
        ("pandas", "BaseOffset"): frames.encode_offset,
        ("pytz", "BaseTzInfo"): standard.encode_pytz_zone,
        ("pytz", "_FixedOffset"): standard.encode_pytz_zone,
        ("pyarrow", "Table"): arrow.encode_table,
        ("pyarrow", "RecordBatch"): arrow.encode_table,
        ("pyarrow", "Array"): arrow.encode_array,
        ("pyarrow", "ChunkedArray"): arrow.encode_array,
        ("pyarrow", "Scalar"): arrow.encode_scalar,
        ("pyarrow", "Schema"): arrow.encode_schema,
        ("pyarrow", "Field"): arrow.encode_field,
        ("pyarrow", "DataType"): arrow.encode_type,
        ("polars", "DataFrame"): polars_frames.encode_frame,
        ("polars", "Series"): polars_frames.encode_series,
        ("polars", "LazyFrame"): polars_frames.encode_lazy,
        ("polars", "DataType"): polars_frames.encode_dtype,
        ("polars", "Field"): polars_frames.encode_dtype_field,
        ("torch", "Tensor"): tensors.encode_tensor,
        ("torch", "dtype"): tensors.encode_dtype,
        ("torch", "layout"): tensors.encode_dtype,
        ("torch", "device"): tensors.encode_device,
        ("torch", "Module"): objects.encode_by_attributes,
        ("torch", "Size"): tensors.encode_size,
        ("pydantic", "BaseModel"): objects.encode_pydantic,
        ("sklearn", "BaseEstimator"): objects.encode_by_attributes,
        ("sklearn", "Tree"): objects.encode_tree,
    }
)

_FOR_SUBCLASSES = (objects.encode_pydantic, objects.encode_by_attributes)
"""Encoders that see all of an instance of a user's subclass, too."""


def encoder_for(cls: type, walk: Walk) -> Encoder:
    """Return the encoder for a type that is not among `SCALARS`; one that takes a search is remembered for this walk."""
    known = EXACT.get(cls) or walk.encoders.get(cls)
    if known is None:
        known = walk.encoders[cls] = _find(cls)
    return known


def _find(cls: type) -> Encoder:
    if getattr(cls, "__flowlib_node__", False) is True:
        return _refuse_node
    registered = REGISTRY.find(cls)
    if registered is not None:
        return partial(objects.encode_registered, *registered)
    if issubclass(cls, type):
        return callables.encode_class
    if callable(getattr(cls, "__flowlib_digest__", None)):
        return objects.encode_own
    if getattr(cls, "__flowlib_task__", False) is True:
        return callables.encode_task
    if issubclass(cls, enum.Enum):
        return objects.encode_enum
    return _library_encoder(cls) or _refusal(cls) or objects.instance_encoder(cls)


def _library_encoder(cls: type) -> Encoder | None:
    own = cls.__module__.partition(".")[0]
    for base in cls.__mro__:
        package = base.__module__.partition(".")[0]
        encode = _LIBRARIES.get((package, base.__name__))
        if encode is None:
            continue
        if package == own or encode in _FOR_SUBCLASSES:
            return encode
        return partial(objects.encode_subclass, encode)
    return None


def _refusal(cls: type) -> Encoder | None:
    if issubclass(cls, io.IOBase):
        return _refuse_file
    if issubclass(cls, types.CoroutineType):
        return _refuse_coroutine
    if hasattr(cls, "__next__") or cls in (type({}.keys()), type({}.values()), type({}.items())):
        return _refuse_iterator
    return None


def _refuse_node(value: object, walk: Walk) -> Node:
    # Nothing of the value is touched beyond its type: a node answers every attribute with another node.
    raise Refused(
        value,
        "a node (a task's result that is still to be computed) is hidden here",
        "Pass the node to the task directly, or inside lists, tuples, dicts, sets and dataclasses.",
    )


def _refuse_file(value: object, walk: Walk) -> Node:
    raise Refused(value, "an open file has no content of its own", "Pass flowlib.File(path) and open it in the task.")


def _refuse_coroutine(value: object, walk: Walk) -> Node:
    raise Refused(value, "a coroutine is a computation, not a value", "Await it and pass the result.")


def _refuse_iterator(value: object, walk: Walk) -> Node:
    raise Refused(value, "an iterator can be walked only once", "Pass list(...) of it instead.")
