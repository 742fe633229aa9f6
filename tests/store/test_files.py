"""Writing: every byte, in order, in calls of a bounded length."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from flowlib.store.files import Buffer, Files

PARTS: list[Buffer] = [
    b"",
    b"head",
    bytearray(os.urandom(700_001)),
    b"",
    memoryview(os.urandom(300_000)),
    *[b"x"] * 600,
]


@pytest.mark.parametrize("most", [1 << 30, 100_000, 1], ids=["whole", "in part", "byte by byte"])
def test_every_byte_is_written_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """However much of it the system takes at once; it is asked to take 256 KiB at most."""
    parts: list[Buffer] = PARTS if most > 1 else [b"ab", b"", bytearray(b"cde")]
    asked: list[int] = []
    real = os.writev

    def writev(descriptor: int, buffers: Sequence[memoryview]) -> int:
        asked.append(sum(buffer.nbytes for buffer in buffers))
        data = b"".join(buffers)[:most]
        return real(descriptor, [data])

    monkeypatch.setattr(os, "writev", writev)
    files, path = Files(), tmp_path / "file"
    descriptor = files.create(path)
    files.write(descriptor, parts)
    files.close(descriptor)

    assert path.read_bytes() == b"".join(parts)
    assert max(asked) <= 256 * 1024
    assert most < 1 << 30 or len(asked) == -(-1_000_605 // (256 * 1024)) + 1


def test_what_the_system_takes_as_a_hint_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside Linux nothing is begun early; syncing is what counts."""
    monkeypatch.setattr("flowlib.store.files._sync_file_range", lambda: None)
    files, path = Files(), tmp_path / "file"
    descriptor = files.create(path)
    files.write(descriptor, [b"content"])

    files.begin_sync(descriptor, 0, 7)
    files.begin_sync_path(path)
    files.sync(descriptor)
    files.close(descriptor)

    assert path.read_bytes() == b"content"
