"""Values to bytes and back: which encoding suits a value, from the plainest to pickle.

Ladder, first fit wins:

    raw, text         bytes, str                            exactly these bytes
    plain             builtin types, nested                 codec_plain
    npy               numpy arrays without objects          codec_arrays
    safetensors       torch tensors, and dicts of them      codec_tensors, where that package is installed
    *-arrow           pandas, polars, pyarrow frames        codec_frames, where the round trip is exact
    file              File, Dir                             codec_files: the contents become blobs of their own
    pickle5           whatever pickle can do                codec_pickle, large buffers apart
    cloudpickle       lambdas, local classes                codec_pickle, last resort

Invariant: `decode(encode(x))` has the digest of `x`. The plain codecs guarantee it by construction; whoever stores a
pickled value checks it with `round_trips`.
"""

import marshal
from collections.abc import Callable
from typing import Any

import attrs

from flowlib.errors import near_miss
from flowlib.hashing.digest import StreamHasher, digest_bytes
from flowlib.ids import Digest
from flowlib.store import codec_arrays, codec_files, codec_frames, codec_pickle, codec_plain, codec_tensors
from flowlib.store.base import BlobLost, NotKept, Payload
from flowlib.store.codec_files import FileBlobs
from flowlib.store.files import Buffer

CODECS = (
    "raw",
    "text",
    "plain",
    "npy",
    "safetensors",
    "pandas-arrow",
    "polars-arrow",
    "pyarrow-arrow",
    "file",
    "pickle5",
    "cloudpickle",
)
PICKLED = frozenset({"pickle5", "cloudpickle"})
_INERT = frozenset({"raw", "text", "npy", "safetensors"})
SIMPLE = frozenset({"raw", "text", "plain"})
INLINE_BYTES = 4096
"""Payloads up to this size travel in their entry; larger ones become blobs."""


@attrs.frozen
class Encoded:
    """A value as bytes: `parts` one after another. `refs` are blobs of files inside the value, written already."""

    codec: str
    parts: list[Buffer]
    refs: tuple[Digest, ...] = ()

    @property
    def inert(self) -> bool:
        """Whether decoding forged bytes could do no harm, so that a fast digest is enough to name them."""
        return self.codec in _INERT

    @property
    def n_bytes(self) -> int:
        """The length of all parts together."""
        return sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in self.parts)

    def digest(self) -> Digest:
        """Return the digest of all parts together. Cost: one pass over the bytes."""
        if len(self.parts) == 1:
            return digest_bytes(self.parts[0], inert=self.inert)
        hasher = StreamHasher(inert=self.inert)
        for part in self.parts:
            hasher.update(part)
        return hasher.digest()


def encode_scalar(value: Any) -> Payload | None:
    """Return the payload of an exact scalar, the same as by `encode_value`; None for any other value.

    Cost: about 0.7 us; the hot path of graphs of small results.
    """
    kind = type(value)
    if kind in codec_plain.SCALARS:
        codec, data = "plain", marshal.dumps(value, codec_plain.MARSHAL_VERSION)
    elif kind is str:
        codec, data = "text", codec_plain.encode_text(value)
    elif kind is bytes:
        codec, data = "raw", value
    else:
        return None
    return Payload(codec, None, data) if len(data) <= INLINE_BYTES else None


def load_simple(codec: str, data: bytes, claim: Digest | None) -> object:
    """Return the value in the bytes of a small payload of one of the `SIMPLE` codecs.

    A new object, unless it is immutable. Bytes that are said to have a digest have to have it.

    Raises:
        BlobLost: The bytes are not the ones that were written.

    Cost: about half a microsecond, twice that for bytes that have to be verified.
    """
    if claim is not None and digest_bytes(data) != claim:
        raise BlobLost("its bytes are damaged: they do not have the digest they should")
    try:
        if codec == "plain":
            return marshal.loads(data)
        return codec_plain.decode_text(data) if codec == "text" else data
    except (ValueError, EOFError, TypeError) as error:
        raise BlobLost(f"its bytes no longer make a value: {type(error).__name__}: {error}") from error


def encode_value(value: object, files: FileBlobs, *, codec: str | None = None) -> Encoded:
    """Encode a value by the first codec that fits, or by the one asked for.

    Raises:
        NotKept: No codec fits, or the one asked for does not; the text says why.
    """
    if codec is not None:
        return _encode_as(value, files, codec)
    kind = type(value)
    if kind is bytes:
        return Encoded("raw", [value])  # type: ignore[list-item]
    if kind is str:
        return Encoded("text", [codec_plain.encode_text(value)])  # type: ignore[arg-type]
    plain = codec_plain.encode_plain(value)
    if plain is not None:
        return Encoded("plain", [plain])
    return (
        _encode_array(value)
        or _encode_tensors(value)
        or _encode_frame(value)
        or _encode_file(value, files)
        or _encode_pickle(value, files)
    )


def _encode_array(value: object) -> Encoded | None:
    parts = codec_arrays.encode_array(value) if codec_arrays.is_array(value) else None
    return None if parts is None else Encoded("npy", parts)


def _encode_tensors(value: object) -> Encoded | None:
    parts = codec_tensors.encode_tensors(value)
    return None if parts is None else Encoded("safetensors", parts)


def _encode_frame(value: object) -> Encoded | None:
    found = codec_frames.encode_frame(value)
    return None if found is None else Encoded(*found)


def _encode_file(value: object, files: FileBlobs) -> Encoded | None:
    found = codec_files.encode_file(value, files)
    return None if found is None else Encoded("file", [found[0]], found[1])


def _encode_pickle(value: object, files: FileBlobs) -> Encoded:
    inside = codec_files.FilesInside(files)
    name, parts = codec_pickle.encode_pickle(value, {**inside.reducers, **codec_tensors.tensor_reducers()})
    return Encoded(name, [inside.manifest(), *parts], inside.refs)


def _encode_as(value: object, files: FileBlobs, codec: str) -> Encoded:
    if codec not in CODECS:
        raise NotKept(f"there is no codec {codec!r}. {near_miss(codec, CODECS)}")
    if codec in PICKLED:
        return _encode_pickle(value, files)
    for encoded in (_encode_array(value), _encode_tensors(value), _encode_frame(value), _encode_file(value, files)):
        if encoded is not None and encoded.codec == codec:
            return encoded
    encoded = encode_value(value, files)
    if encoded.codec != codec:
        needs = codec_tensors.NEEDS if codec == "safetensors" else ""
        raise NotKept(f"the codec {codec!r} cannot keep a {type(value).__qualname__} exactly{needs}")
    return encoded


def decode_value(codec: str, data: memoryview, files: FileBlobs) -> object:
    """Return the value in verified, writable bytes that belong to the caller.

    Raises:
        BlobLost: A file inside the value can be neither found nor restored.
        Exception: Whatever unpickling raises, for instance when a class is gone.
    """
    if codec == "raw":
        return bytes(data)
    if codec == "text":
        return codec_plain.decode_text(data)
    if codec == "plain":
        return codec_plain.decode_plain(data)
    if codec == "npy":
        return codec_arrays.decode_array(data)
    if codec == "safetensors":
        return codec_tensors.decode_tensors(data)
    if codec == "file":
        return codec_files.decode_file(data, files)
    if codec in PICKLED:
        return codec_pickle.decode_pickle(codec_files.restore_files(data, files))
    if codec in CODECS:
        return codec_frames.decode_frame(codec, data)
    raise ValueError(f"unknown codec {codec!r}")


def round_trips(
    value: object, payload: Payload, load: Callable[[Payload], object], digest_of: Callable[[object], Digest]
) -> bool:
    """Say whether what comes back has the digest of what went in. Cost: one load and two digests.

    Digests of values that digest differently after any pickling (a set of objects, an identity) fail here, so that
    they are not kept rather than kept wrong.
    """
    return digest_of(load(payload)) == digest_of(value)
