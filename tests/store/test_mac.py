"""Seals: only this key, only under this name, only these bytes. And where the key comes from."""

import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.errors import StoreTrouble
from flowlib.store.files import Files
from flowlib.store.mac import HEAD_BYTES, Mac, Refused, load_secret


@given(name=st.text(), body=st.binary(max_size=200), other=st.text())
def test_a_record_opens_only_under_its_name(name: str, body: bytes, other: str) -> None:
    """Moving a record to another name makes it a miss."""
    mac = Mac(b"key")
    record = mac.seal(name, body)

    assert mac.open(name, record) == body
    if other != name:
        assert mac.open(other, record) is Refused.DAMAGED


def test_name_and_body_cannot_be_shifted_into_each_other() -> None:
    """The name is length-prefixed under the seal."""
    mac = Mac(b"key")

    assert mac.seal("ab", b"c")[:HEAD_BYTES] != mac.seal("a", b"bc")[:HEAD_BYTES]


@given(at=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_any_changed_byte_is_refused(at: int, flip: int) -> None:
    """Head, seal or body."""
    mac = Mac(b"key")
    record = bytearray(mac.seal("e:1", b"some body"))
    record[at % len(record)] ^= flip

    assert isinstance(mac.open("e:1", bytes(record)), Refused)


@given(name=st.text(), body=st.binary(max_size=300))
def test_the_seal_is_a_standard_hmac(name: str, body: bytes) -> None:
    """RFC 2104 over the length of the name, the name and the body."""
    key = hashlib.sha256(b"flowlib cache key\0" + b"key").digest()
    label = name.encode()

    seal = Mac(b"key").seal(name, body)[9:HEAD_BYTES]

    assert seal == hmac.digest(key, len(label).to_bytes(4, "big") + label + body, "sha256")


def test_another_key_is_told_from_damage() -> None:
    """So that a shared cache gets the right notice."""
    record = Mac(b"one").seal("e:1", b"body")

    assert Mac(b"two").open("e:1", record) is Refused.FOREIGN
    assert Mac(b"one").open("e:1", record[:-1]) is Refused.DAMAGED
    assert Mac(b"one").open("e:1", b"") is Refused.DAMAGED


def test_adopting_seals_only_foreign_records() -> None:
    """Ours stay as they are; garbage is not adopted."""
    ours, theirs = Mac(b"ours"), Mac(b"theirs")
    adopted = ours.adopt("e:1", theirs.seal("e:1", b"body"))

    assert adopted is not None
    assert ours.open("e:1", adopted) == b"body"
    assert ours.adopt("e:1", adopted) is None
    assert ours.adopt("e:1", b"garbage") is None


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    """32 random bytes, mode 0600, in a directory 0700, the same ever after."""
    first = load_secret(tmp_path / "a" / "state", Files())

    assert len(first) == 32
    assert load_secret(tmp_path / "a" / "state", Files()) == first
    assert load_secret(tmp_path / "b", Files()) != first
    assert (tmp_path / "a" / "state" / "cache.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path / "a" / "state") == ["cache.key"]


def test_processes_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    """The first wins, the others use his."""
    readers = []
    for _ in range(8):
        reading, writing = os.pipe()
        if os.fork() == 0:
            try:
                os.write(writing, load_secret(tmp_path / "state", Files()))
            finally:
                os._exit(0)
        os.close(writing)
        readers.append(reading)
    keys = {os.read(reading, 100) for reading in readers}
    for reading in readers:
        os.close(reading)
        os.wait()

    assert len(keys) == 1
    assert len(keys.pop()) == 32


def spoil_mode(path: Path) -> None:
    """Let others read it."""
    path.chmod(0o644)


def spoil_length(path: Path) -> None:
    """Tear it."""
    path.write_bytes(b"short")


def spoil_kind(path: Path) -> None:
    """Put a link in its place."""
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))


@pytest.mark.parametrize("spoil", [spoil_mode, spoil_length, spoil_kind])
def test_a_spoilt_key_is_refused_with_what_to_do(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """A key that others know, or that is no key, protects nothing."""
    load_secret(tmp_path, Files())
    spoil(tmp_path / "cache.key")

    with pytest.raises(StoreTrouble, match=r"cache\.key") as caught:
        load_secret(tmp_path, Files())
    assert "FLOWLIB_CACHE_KEY" in caught.value.hint
