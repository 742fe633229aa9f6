"""Packs: what was appended is read back; what is torn is skipped; nobody writes into another's."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowlib.store.files import Files
from flowlib.store.packs import Frame, PackWriter, decode_frames, encode_frames, read_pack, try_lock

FRAMES = st.lists(
    st.builds(Frame, st.text(st.characters(codec=None), max_size=20), st.binary(max_size=300), st.booleans())
)


@given(FRAMES)
def test_frames_come_back_in_order(frames: list[Frame]) -> None:
    """Any name, any record."""
    assert decode_frames(encode_frames(frames))[0] == frames


@given(FRAMES, st.binary(max_size=100), FRAMES)
def test_garbage_between_frames_is_skipped(before: list[Frame], garbage: bytes, after: list[Frame]) -> None:
    """Reading goes on at the next frame that holds together."""
    found, _ = decode_frames(encode_frames(before) + garbage.replace(b"\xf1", b"") + encode_frames(after))

    assert found == before + after


def test_a_writer_goes_on_in_a_pack_that_is_complete(tmp_path: Path) -> None:
    """So that there are no more packs than there were writers at once."""
    clean: dict[str, int] = {}
    for number in range(3):
        writer = PackWriter(tmp_path / "p", Files())
        name, n_bytes = writer.append(encode_frames([Frame("a", b"%d" % number)]), clean, sync=False)
        clean[name] = n_bytes
        writer.close()

    (pack,) = (tmp_path / "p").iterdir()
    assert [frame.record for frame in read_pack(pack, Files())[0]] == [b"0", b"1", b"2"]


def test_two_writers_never_share_a_pack(tmp_path: Path) -> None:
    """The lock of a pack dies with its writer."""
    one, two = PackWriter(tmp_path / "p", Files()), PackWriter(tmp_path / "p", Files())
    name, n_bytes = one.append(encode_frames([Frame("a", b"1")]), {}, sync=False)

    other, _ = two.append(encode_frames([Frame("b", b"2")]), {name: n_bytes}, sync=False)

    assert name != other
    one.close()
    two.close()


class Watched(Files):
    """Files among which a collection locks the first new packs in front of their writer, as `gc` elsewhere may do."""

    def __init__(self, n_times: int) -> None:
        self.n_times, self.held = n_times, list[int]()

    def open_append(self, path: Path) -> int:
        """Open a pack; somebody else takes its lock first."""
        descriptor = super().open_append(path)
        if len(self.held) < self.n_times:
            self.held.append(os.open(path, os.O_RDWR))
            assert try_lock(self.held[-1])
        return descriptor


def test_a_collection_that_is_quicker_than_the_writer_of_a_new_pack_costs_a_name(tmp_path: Path) -> None:
    """Whoever finds a pack may lock it in the moment between its making and the lock of its writer."""
    writer = PackWriter(tmp_path / "p", files := Watched(2))

    name, n_bytes = writer.append(encode_frames([Frame("a", b"1")]), {}, sync=False)

    writer.close()
    assert len(files.held) == 2
    assert read_pack(tmp_path / "p" / name, Files())[0] == [Frame("a", b"1")]
    assert n_bytes == (tmp_path / "p" / name).stat().st_size
    for descriptor in files.held:
        os.close(descriptor)


def test_a_writer_that_gets_no_pack_says_so(tmp_path: Path) -> None:
    """An error of the operating system's kind, which becomes a notice; nothing is written anywhere."""
    writer = PackWriter(tmp_path / "p", files := Watched(1000))

    with pytest.raises(OSError, match="holds every new pack"):
        writer.append(encode_frames([Frame("a", b"1")]), {}, sync=False)

    assert {pack.stat().st_size for pack in (tmp_path / "p").iterdir()} == {0}
    for descriptor in files.held:
        os.close(descriptor)


@pytest.mark.parametrize("change", [b"more", None])
def test_a_pack_that_changed_is_not_written_on(tmp_path: Path, change: bytes | None) -> None:
    """A torn tail stays the end of its pack; a removed pack stays removed."""
    writer = PackWriter(tmp_path / "p", Files())
    name, n_bytes = writer.append(encode_frames([Frame("a", b"1")]), {}, sync=False)
    writer.close()
    if change is None:
        (tmp_path / "p" / name).unlink()
    else:
        with open(tmp_path / "p" / name, "ab") as file:
            file.write(change)

    again = PackWriter(tmp_path / "p", Files())
    other, _ = again.append(encode_frames([Frame("b", b"2")]), {name: n_bytes}, sync=False)
    again.close()

    assert other != name
