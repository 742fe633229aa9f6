"""The values of a cache directory without its records: what a worker process needs of a store.

A worker writes blobs, which are named by their content, and loads payloads that it is told of. It looks up nothing, and
commits nothing: the run that the worker works for keeps entries, leases and the key that authenticates them.
"""

from collections.abc import Sequence
from pathlib import Path

from flowlib.ids import Key
from flowlib.store import codec as codecs
from flowlib.store.base import BlobLost, Entry, Payload
from flowlib.store.blobs import Blobs, matches
from flowlib.store.files import Files


class BlobValues:
    """Encodes values into the blobs of a cache directory, and loads them.

    Args:
        root: The cache directory; it is there and has been checked.
        fsync: `off`, `batch` (whoever commits the entry makes the blob durable before) or `full`.
    """

    def __init__(self, root: Path, fsync: str) -> None:
        self.root = root
        self._blobs = Blobs(root, Files(), "full" if fsync == "full" else "off")

    def find(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """Return nothing: entries are found by the run."""
        return {}

    def encode(self, value: object, *, codec: str | None = None) -> Payload:
        """Encode a value and write its blob if it is not small.

        Raises:
            NotKept: It cannot be encoded, or the blob cannot be written.
        """
        scalar = codecs.encode_scalar(value) if codec is None else None
        if scalar is not None:
            return scalar
        encoded = codecs.encode_value(value, self._blobs, codec=codec)
        content = encoded.digest()
        if encoded.n_bytes <= codecs.INLINE_BYTES:
            inline = b"".join(encoded.parts)
            return Payload(codec=encoded.codec, content=content, inline=inline, refs=encoded.refs)
        self._blobs.write(encoded.parts, content)
        return Payload(codec=encoded.codec, content=content, refs=encoded.refs)

    def load(self, payload: Payload) -> object:
        """Return a new object that no one else holds, after verifying every byte it came from.

        Raises:
            BlobLost: The bytes are missing or not the ones that were written, or make no value here.
        """
        if payload.inline is not None:
            view = memoryview(bytearray(payload.inline))
            if not matches(view, payload.content):
                raise BlobLost("its bytes are damaged: they do not have the digest they should")
        else:
            view = self._blobs.read(payload.content)
        try:
            return codecs.decode_value(payload.codec, view, self._blobs)
        except BlobLost:
            raise
        except Exception as error:  # unpickling runs code of the user's classes
            raise BlobLost(f"its bytes no longer make a value: {type(error).__name__}: {error}") from error
