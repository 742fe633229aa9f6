"""Who wrote this record: a keyed seal over bytes that lie in a directory others might have filled.

Theory of operation: the cache directory may come from anywhere (a cloned repository, an archive, a shared disk), and
some payloads run code when they are decoded. So every record carries an HMAC-SHA256 whose key lives outside the
cache, in the user's state directory, or is handed in (continuous integration, teams). The seal covers the name under
which a record is filed, so a record moved to another name does not verify.

Layout of a sealed record: version (1 byte) | key id (8 bytes) | HMAC-SHA256 (32 bytes) | body.
The key id, a hash of the key, tells a record of another key from a damaged one; it protects nothing.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from flowlib.errors import StoreTrouble
from flowlib.store.files import Files

_VERSION = b"\x01"
HEAD_BYTES = 1 + 8 + 32
"""The part of a record that tells it from every other: version, key id and seal."""
_KEY_BYTES = 32
_KEY_NAME = "cache.key"


class Refused(Enum):
    """Why a record does not open."""

    FOREIGN = "foreign"  # sealed with another key
    DAMAGED = "damaged"  # too short, of an unknown version, or changed since it was sealed


class Mac:
    """Seals and opens records with one key.

    >>> mac = Mac(b"k" * 32)
    >>> mac.open("name", mac.seal("name", b"body"))
    b'body'
    >>> mac.open("other name", mac.seal("name", b"body"))
    <Refused.DAMAGED: 'damaged'>
    >>> Mac(b"x" * 32).open("name", mac.seal("name", b"body"))
    <Refused.FOREIGN: 'foreign'>
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(b"flowlib cache key\0" + secret).digest()
        self._prefix = _VERSION + hashlib.sha256(b"flowlib key id\0" + self._key).digest()[:8]
        padded = self._key.ljust(hashlib.sha256().block_size, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def seal(self, name: str, body: bytes) -> bytes:
        """Return the record of `body` filed under `name`. Cost: about 1 us + 1 us per KB."""
        return self._prefix + self._tag(name, body) + body

    def open(self, name: str, record: bytes) -> bytes | Refused:
        """Return the body of a record, or why it is refused. Nothing in the body has been looked at before."""
        opened, refused = self.open_many({name: record})
        return refused[0] if refused else opened[name]

    def seal_many(self, bodies: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the record of each body by name."""
        prefix, tag = self._prefix, self._tag
        return {name: prefix + tag(name, body) + body for name, body in bodies.items()}

    def open_many(self, records: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[Refused]]:
        """Return the bodies of records by name, and why the others are refused. Cost: that of `seal`."""
        opened: dict[str, bytes] = {}
        refused: list[Refused] = []
        prefix, tag, is_same = self._prefix, self._tag, hmac.compare_digest
        for name, record in records.items():
            if record.startswith(prefix):
                body = record[HEAD_BYTES:]
                if is_same(record[9:HEAD_BYTES], tag(name, body)):
                    opened[name] = body
                else:
                    refused.append(Refused.DAMAGED)
            else:
                is_foreign = len(record) >= HEAD_BYTES and record[:1] == _VERSION
                refused.append(Refused.FOREIGN if is_foreign else Refused.DAMAGED)
        return opened, refused

    def adopt(self, name: str, record: bytes) -> bytes | None:
        """Seal a record of another key with this one, unread; None if it is no record or already ours."""
        foreign = len(record) >= HEAD_BYTES and record[:1] == _VERSION and record[:9] != self._prefix
        return self.seal(name, record[HEAD_BYTES:]) if foreign else None

    def _tag(self, name: str, body: bytes) -> bytes:
        """Return the HMAC-SHA256 (RFC 2104) of the name, length-prefixed, and the body.

        The two states that depend only on the key are made once and copied: `hmac.digest` takes 1.6 times as long.
        """
        label = name.encode() if name.isascii() else name.encode("utf-8", "surrogatepass")
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(len(label).to_bytes(4, "big") + label + body)
        outer.update(inner.digest())
        return outer.digest()


def load_secret(state_dir: Path, files: Files) -> bytes:
    """Return the user's cache key, made on first use: 32 random bytes in a file only the user can read.

    Two processes may do this at once: both end up with the key of the first.

    Raises:
        StoreTrouble: The file cannot be made or read, is open to others, or is not a key.
    """
    path = state_dir / _KEY_NAME
    try:
        secret = _read_secret(path, files)
        return _make_secret(path, files) if secret is None else secret
    except OSError as error:
        raise StoreTrouble(
            "The key that protects the cache cannot be used.",
            {"key file": path, "reason": error.strerror or error},
            "Make the directory private and writable (chmod 700, chmod 600), or set FLOWLIB_CACHE_KEY.",
        ) from error


def _read_secret(path: Path, files: Files) -> bytes | None:
    try:
        descriptor, n_bytes = files.open_read(path)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise PermissionError(None, "others may read or own it")
        secret = bytes(files.read(descriptor, _KEY_BYTES + 1))
    finally:
        files.close(descriptor)
    if len(secret) != _KEY_BYTES:
        raise OSError(None, f"it holds {n_bytes} bytes, not {_KEY_BYTES}; delete it to make a new one")
    return secret


def _make_secret(path: Path, files: Files) -> bytes:
    files.make_path(path.parent.parent)
    files.make_dir(path.parent)
    fresh = path.with_name(f".{_KEY_NAME}.{os.getpid()}.{os.urandom(6).hex()}")
    descriptor = files.create(fresh)
    try:
        files.write(descriptor, [os.urandom(_KEY_BYTES)])
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    try:
        files.link(fresh, path)  # a link, not a rename: the first of two processes wins
    except FileExistsError:
        pass
    finally:
        files.remove(fresh)
    secret = _read_secret(path, files)
    if secret is None:
        raise OSError(None, "it vanished while it was made")
    return secret
