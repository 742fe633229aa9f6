"""Files and directories as values."""

import os
import pickle
import shutil
from pathlib import Path

import pytest

from flowlib.clock import FrozenClock
from flowlib.errors import FileMissing, Undigestible
from flowlib.hashing.canonical import digest_value
from flowlib.hashing.digest import digest_bytes, size_bytes
from flowlib.hashing.file import RACY_SECONDS, Dir, File, FileDigests, digest_file
from flowlib.ids import Digest

NOW = 1_700_000_000.0


class CountingDigests(FileDigests):
    """A memo that remembers what it was asked and told."""

    def __init__(self) -> None:
        super().__init__()
        self.hits = 0
        self.puts = 0

    def get(self, key: tuple[int, ...]) -> Digest | None:
        found = super().get(key)
        self.hits += found is not None
        return found

    def put(self, key: tuple[int, ...], digest: Digest) -> None:
        self.puts += 1
        super().put(key, digest)


def write(path: str, text: str = "x", *, age_s: float = 3600) -> Path:
    """Write a file whose mtime is `age_s` before NOW."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    os.utime(target, (NOW - age_s, NOW - age_s))
    return target


def test_a_file_is_its_base_name_and_content() -> None:
    """Other folders and times change nothing; another name or content does."""
    for path, text in [("a/t.csv", "1"), ("b/c/t.csv", "1"), ("a/u.csv", "1"), ("d/t.csv", "2")]:
        write(path, text)
    first = digest_value(File("a/t.csv"))

    assert digest_value(File(os.path.abspath("b/c/t.csv"))) == first
    assert digest_value(File("a/u.csv")) != first
    assert digest_value(File("d/t.csv")) != first


def test_a_file_is_neither_its_path_nor_its_bytes() -> None:
    """A path is text, a file is content."""
    path = write("t.csv", "1")

    assert len({digest_value(value) for value in (File("t.csv"), path, "t.csv", b"1", Dir("."))}) == 5


def test_files_are_equal_by_path_as_python_objects() -> None:
    """Equality and hash never read the disk."""
    assert File("a") == File(Path("a")) != File("b")
    assert len({File("a"), File("a"), Dir("a")}) == 2
    assert pickle.loads(pickle.dumps(File("a"))) == File("a")


def test_a_file_reads_like_a_path() -> None:
    """open, read_text, read_bytes, os.fspath, name, path."""
    write("data/t.txt", "grüße")
    file = File("data/t.txt")

    assert (file.name, file.path, os.fspath(file)) == ("t.txt", Path("data/t.txt"), str(Path("data/t.txt")))
    assert file.read_text() == "grüße"
    assert file.read_bytes() == "grüße".encode()
    with file.open("rb") as stream:
        assert stream.read() == "grüße".encode()
    assert os.fspath(Dir("data")) == "data"
    assert Dir("data").name == "data"


@pytest.mark.parametrize(("value", "named"), [(File("no/t.csv"), "no/t.csv"), (Dir("no"), "no")])
def test_what_is_missing_is_named_as_given_and_absolute(value: object, named: str) -> None:
    """Both paths, because the mistake is usually the working directory."""
    with pytest.raises(FileMissing, match=named) as error:
        digest_value([value])

    assert error.value.facts["path"] == named
    assert error.value.facts["absolute"] == os.path.abspath(named)
    assert isinstance(error.value, FileNotFoundError)


def test_a_directory_is_no_file_and_a_file_is_no_directory() -> None:
    """Either is missing as the other."""
    write("d/t.csv")

    with pytest.raises(FileMissing, match="no file"):
        digest_value(File("d"))
    with pytest.raises(FileMissing, match="no directory"):
        digest_value(Dir("d/t.csv"))
    with pytest.raises(FileMissing, match="no file"):
        digest_value(File("d/t.csv/more"))


def test_a_directory_is_the_names_and_contents_below_it() -> None:
    """A copy elsewhere is equal; any other name, content, place or empty folder is not."""
    write("d/a.txt", "1")
    write("d/sub/b.txt", "2")
    first = digest_value(Dir("d"))
    shutil.copytree("d", "elsewhere/e")
    seen = {first}

    assert digest_value(Dir("elsewhere/e")) == first
    for change in (
        lambda: write("d/a.txt", "one"),
        lambda: write("d/c.txt", ""),
        lambda: os.rename("d/sub/b.txt", "d/b.txt"),
        lambda: os.rmdir("d/sub"),
        lambda: os.mkdir("d/empty"),
    ):
        change()
        seen.add(digest_value(Dir("d")))
    assert len(seen) == 6


def test_links_in_a_directory_count_by_what_they_lead_to() -> None:
    """Files and folders behind links are read; dangling links count by their target."""
    write("d/a.txt", "1")
    write("outside/b.txt", "2")
    os.symlink(os.path.abspath("outside"), "d/link")
    first = digest_value(Dir("d"))
    write("outside/b.txt", "3")
    second = digest_value(Dir("d"))
    os.symlink("nowhere", "d/dangling")

    assert len({first, second, digest_value(Dir("d"))}) == 3


def test_a_link_back_up_does_not_loop() -> None:
    """A directory that contains itself has a digest."""
    write("d/sub/a.txt", "1")
    os.symlink("../..", "d/sub/up")
    os.symlink("..", "d/sub/loop")

    assert digest_value(Dir("d")) == digest_value(Dir("d"))


def test_what_is_neither_file_nor_directory_is_refused() -> None:
    """A pipe has no content."""
    os.mkdir("d")
    os.mkfifo("d/pipe")

    with pytest.raises(Undigestible, match="pipe in it is neither"):
        digest_value(Dir("d"))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_gives_its_content_once_or_without_end_is_no_file(kind: str) -> None:
    """Whoever opened a pipe would wait for its writer; whoever read a device, for ever."""
    if kind == "pipe":
        os.mkfifo("pipe")
    path = "pipe" if kind == "pipe" else "/dev/zero"

    with pytest.raises(FileMissing, match="no file") as error:
        digest_value(File(path))

    assert "a pipe, a socket or a device" in error.value.facts["reason"]


def test_the_size_of_a_digest_counts_the_files() -> None:
    """The bytes of the content are part of the size."""
    write("d/a.txt", "x" * 5000)
    write("d/b.txt", "x" * 7000)

    assert 5000 < size_bytes(digest_value(File("d/a.txt"))) < 5200
    assert 12000 < size_bytes(digest_value([Dir("d")])) < 12500


def test_content_of_any_length_is_read_whole() -> None:
    """Large files have the digest of their bytes."""
    data = os.urandom(3 * (1 << 20) + 17)
    Path("big").write_bytes(data)

    assert digest_file(Path("big")) == digest_bytes(data)


def test_a_settled_file_is_read_once() -> None:
    """With a memo the second digest costs one stat."""
    path, memo = write("t.csv", "1"), CountingDigests()
    first = digest_file(path, memo, FrozenClock(NOW))

    assert digest_file(path, memo, FrozenClock(NOW)) == first
    assert (memo.hits, memo.puts) == (1, 1)


def test_the_memo_reaches_files_inside_values() -> None:
    """`digest_value` hands it to files and directories."""
    write("d/a.txt", "1")
    memo = CountingDigests()

    assert digest_value([File("d/a.txt"), Dir("d")], files=memo) == digest_value([File("d/a.txt"), Dir("d")])
    assert (memo.hits, memo.puts) == (1, 1)


@pytest.mark.parametrize("age_s", [0.0, RACY_SECONDS, -5.0])
def test_a_file_that_was_just_written_is_not_remembered(age_s: float) -> None:
    """A write of equal size within the clock's grain would leave the same stat behind."""
    path, memo = write("t.csv", "old", age_s=age_s), CountingDigests()
    first = digest_file(path, memo, FrozenClock(NOW))
    write("t.csv", "new", age_s=age_s)

    assert memo.puts == 0
    assert digest_file(path, memo, FrozenClock(NOW)) != first


@pytest.mark.parametrize("change", ["size", "mtime", "inode"])
def test_any_sign_of_a_change_makes_the_file_be_read_again(change: str) -> None:
    """Size, mtime and inode each tell."""
    path, memo = write("t.csv", "old"), CountingDigests()
    first = digest_file(path, memo, FrozenClock(NOW))
    if change == "size":
        write("t.csv", "newer")
    elif change == "mtime":
        write("t.csv", "new", age_s=60)
    else:
        os.replace(write("other.csv", "new"), path)

    assert digest_file(path, memo, FrozenClock(NOW)) != first


def test_a_file_that_changes_while_it_is_read_is_not_remembered() -> None:
    """`stat` before and after has to agree."""
    path, memo = write("t.csv", "0"), CountingDigests()

    class WritingClock(FrozenClock):
        """Appends to the file whenever somebody asks for the time, which is while it is open."""

        def now(self) -> float:
            with path.open("a") as stream:
                stream.write("x")
            return super().now()

    digest_file(path, memo, WritingClock(NOW))

    assert memo.puts == 0


def test_a_file_reads_as_its_path_in_text() -> None:
    """Printing and f-strings show the path; repr shows what it is."""
    assert f"{File('a/b.txt')} {Dir('a')}" == "a/b.txt a"
    assert repr(File("a/b.txt")) == "File('a/b.txt')"
