"""Encoders for the value types of the standard library.

Aware datetimes are an instant and a zone: the same instant in two zones differs (`.hour` does), the two ways to write
one instant in one zone (`fold` where nothing repeats) do not. Paths are text: relative stays relative, nothing is
looked up on disk.
"""

import array
import datetime as dt
import re
import sys
import uuid
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import MappingProxyType, SimpleNamespace
from typing import Any

from flowlib.hashing.encoding import Node, Refused, Walk, attribute_label, named, named_head

_MICROSECOND = dt.timedelta(microseconds=1)
_START = dt.datetime(1, 1, 1)  # noqa: DTZ001 - wall time: the zone is encoded beside it


def encode_range(value: range, walk: Walk) -> Node:
    """Encode a range by its arguments: `range(0, 5, 2)` and `range(0, 6, 2)` are equal but have different `stop`."""
    return named("range", value.start, value.stop, value.step)


def encode_slice(value: slice, walk: Walk) -> Node:
    """Encode a slice."""
    return named("slice", value.start, value.stop, value.step)


def encode_ellipsis(value: Any, walk: Walk) -> bytes:
    """Encode Ellipsis."""
    return named_head("Ellipsis", 0)


def encode_memoryview(value: memoryview, walk: Walk) -> Node:
    """Encode a memoryview by format, shape and logical content; strides do not matter."""
    return named("memoryview", value.format, value.shape, value.tobytes())


def encode_array(value: "array.array[Any]", walk: Walk) -> Node:
    """Encode an array of the standard library by type code and content."""
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return named("array.array", value.typecode, value.tobytes())


def encode_namespace(value: SimpleNamespace, walk: Walk) -> Node:
    """Encode a SimpleNamespace by its attributes."""
    return named("SimpleNamespace", dict(vars(value)))


def encode_mapping_proxy(value: MappingProxyType[Any, Any], walk: Walk) -> Node:
    """Encode a read-only view of a mapping by the content it shows."""
    return named("mappingproxy", value.copy())


def encode_datetime(value: dt.datetime, walk: Walk) -> Node:
    """Encode a naive datetime by its fields, an aware one by instant and zone."""
    wall = (value.replace(tzinfo=None, fold=0) - _START) // _MICROSECOND
    offset = value.utcoffset()
    if offset is None:
        return named("datetime", wall, value.fold, value.tzinfo)
    return named("datetime", wall - offset // _MICROSECOND, value.tzinfo)


def encode_date(value: dt.date, walk: Walk) -> bytes:
    """Encode a date."""
    return named_head("date", 0, b"%d" % value.toordinal())


def encode_time(value: dt.time, walk: Walk) -> Node:
    """Encode a time of day with its zone."""
    fields = b"%d:%d:%d.%d %d" % (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return named("time", value.tzinfo, detail=fields)


def encode_timedelta(value: dt.timedelta, walk: Walk) -> bytes:
    """Encode a time difference in microseconds."""
    return named_head("timedelta", 0, b"%d" % (value // _MICROSECOND))


def encode_timezone(value: dt.timezone, walk: Walk) -> Node:
    """Encode a fixed offset; a name given to it counts, the name made from the offset does not."""
    offset = value.utcoffset(None)
    given = value.tzname(None)
    return named("timezone", offset, None if given == dt.timezone(offset).tzname(None) else given)


def encode_zone(value: zoneinfo.ZoneInfo, walk: Walk) -> Node:
    """Encode a zone by its key."""
    if value.key is None:
        raise Refused(value, "a ZoneInfo made from a file has no key", "Use zoneinfo.ZoneInfo(key) instead.")
    return named("ZoneInfo", value.key)


def encode_pytz_zone(value: Any, walk: Walk) -> Node:
    """Encode a zone of pytz, which pandas 2 makes, by its name; a fixed offset by the offset."""
    zone = getattr(value, "zone", None)
    return named("pytz", value.utcoffset(None) if zone is None else zone)


def encode_decimal(value: Decimal, walk: Walk) -> bytes:
    """Encode a Decimal by sign, digits and exponent: 1.0 and 1.00 differ."""
    sign, digits, exponent = value.as_tuple()
    return named_head("Decimal", 0, f"{sign} {''.join(map(str, digits))} {exponent}".encode())


def encode_fraction(value: Fraction, walk: Walk) -> Node:
    """Encode a Fraction."""
    return named("Fraction", value.numerator, value.denominator)


def encode_uuid(value: uuid.UUID, walk: Walk) -> bytes:
    """Encode a UUID."""
    return named_head("UUID", 0, value.bytes)


def encode_path(value: PurePath, walk: Walk) -> Node:
    """Encode a path by its text, with its class: a path is not a str, and not a file's content (`flowlib.File`)."""
    return named(type(value).__name__, str(value))


def encode_pattern(value: re.Pattern[Any], walk: Walk) -> Node:
    """Encode a compiled pattern by its source and flags."""
    return named("re.Pattern", value.pattern, value.flags)


def exception_content(value: BaseException) -> Node:
    """Encode what an exception says: its arguments, and the fields that some builtin classes keep beside them.

    Causes, contexts and tracebacks are where an exception came from, not what it is.
    """
    beside = [name for name in ("filename", "filename2", "name", "path") if isinstance(value, OSError | ImportError)]
    parts = [value.args, *(getattr(value, name, None) for name in beside)]
    return Node(named_head("exception", len(parts)), parts, label=attribute_label, names=("args", *beside))
