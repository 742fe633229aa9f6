"""The index: small sealed records by name, in one diskcache. The only importer of diskcache.

Theory of operation: diskcache makes the database, and brings up to date one that is not as it left it; nothing of its
values, eviction or statistics is used. Rows are read and written in batches by our own statements on a table of our own beside its own,
whose triggers and second index double the cost of a row; `Cache.set` costs six times as much. Each thread has a
connection of its own, closed when the thread ends or the index is let go of, whichever is first: until then somebody may
be using it. The first of them stays open until the index is closed, though its thread may be gone. Names start with a
letter and a colon: `e:` entry by key, `r:` latest keys by task, `s:` statistics by task, `t:` text by name, `f:` digest
by file path, `n:` note by name, `p:` how far a pack has been taken in.

Rules: every write holds the write lock (see `leases`) around the whole transaction and the checkpoint it may
cause, and so do opening and closing: no two processes write or checkpoint at once, so nobody waits inside SQLite, and
the fault in SQLite's log that needs a checkpoint beside a writer (fixed in 3.51.3) cannot occur. A thread's connection
comes and goes without the lock, because it is never the only one: the only one recovers the log when it opens and writes
it back when it closes, and everybody else waits meanwhile. The end of the interpreter closes without the lock, too: then
SQLite writes the log back only if nobody else has the database open, and takes it away. No descriptor of the database is ever opened here. A connection that came through a fork is kept aside, unused and unclosed.

Invariant: a method raises only `IndexLost` (not a usable database: start a new one) or `IndexBusy` (try again later).
"""

import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowlib.store.files import Files

if TYPE_CHECKING:
    import sqlite3

_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "statistics": 0,
    "tag_index": 0,
    "size_limit": 1 << 62,
    "disk_min_file_size": 1 << 62,  # a record never becomes a file of its own
    "sqlite_mmap_size": 0,  # a shrunk file must be an error, not a signal
}
_TIMEOUT_S = 5.0
_PRAGMAS = {
    "cache_size": 8192,
    "mmap_size": 0,
    "wal_autocheckpoint": 4000,  # pages, 16 MB: most pages of a growing index are written anew by every commit
}
_DATABASE = ("cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal")
_BATCHES = (4, 16, 64, 256)  # few statement texts, so that each is compiled once
_LONG = 1024
"""From as many names on, reading everything there is may be cheaper than asking by name: for up to two rows a name."""
_PAGE_ROWS = 1000
_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'Records'"
_EMPTY = "SELECT value FROM Records WHERE name = ''"
_SET_UP = (
    "CREATE TABLE Records(name TEXT PRIMARY KEY, value BLOB)",
    "INSERT INTO Records SELECT key, value FROM Cache WHERE raw = 1",  # what an earlier version kept there
    "DELETE FROM Cache",
)
_UPSERT = "INSERT INTO Records(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value"
_DELETE = "DELETE FROM Records WHERE name = ?"
_ONE = "SELECT name, value FROM Records WHERE name = ?"
_LAST_ROW = "SELECT max(rowid) FROM Records"
_ALL = "SELECT name, value FROM Records"
_PAGE = f"SELECT name, value FROM Records WHERE name > ? AND name < ? ORDER BY name LIMIT {_PAGE_ROWS}"
Lock = Callable[[], contextlib.AbstractContextManager[None]]


class IndexLost(Exception):
    """The database is damaged, gone, or not a database."""


class IndexBusy(Exception):
    """The database cannot be used now: locked, full, read-only, out of descriptors."""


class Index:
    """Named records in a database. Safe for any number of threads and processes; not across a fork."""

    def __init__(self, directory: Path, files: Files, lock: Lock, *, sync: bool, network: bool) -> None:
        """Open the database, making it if needed.

        Raises:
            IndexLost: What is there is not a usable database.
            IndexBusy: It cannot be opened now.
        """
        self._directory, self._files, self._lock = directory, files, lock
        self._synchronous = int(sync)  # 1: the database survives a power cut, the log has its last records
        self._threads = threading.local()
        self._aside: set[sqlite3.Connection] = set()
        with _translated(), lock():
            journal = "delete" if network else "wal"
            if not (self._has_database() and self._is_ready(journal)):
                self._make({**_SETTINGS, "sqlite_journal_mode": journal})
            self._first: _Own | None = self._threads.own
            self._make_private()
            self._identity = self._inode()

    def _inode(self) -> tuple[int, int] | None:
        try:
            status = self._files.status(self._directory / _DATABASE[0])
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def is_replaced(self) -> bool:
        """Say whether another process has put a new database in the place of this one."""
        return self._inode() not in (None, self._identity)

    def _has_database(self) -> bool:
        """Say whether a database is there; refuse whatever SQLite should not be pointed at: links, FIFOs, directories."""
        self._files.make_dir(self._directory)
        found = [name for name in self._files.names(self._directory) if name in _DATABASE]
        for name in found:
            with contextlib.suppress(FileNotFoundError):  # SQLite takes its log away when another process ends
                if not self._files.is_ordinary(self._directory / name):
                    raise IndexLost(f"{name} is not an ordinary file")
        return _DATABASE[0] in found

    def _is_ready(self, journal: str) -> bool:
        """Say whether the database can be used as it is: then diskcache, 10 ms of it, is not even imported."""
        connection = self.connection
        if connection.execute("PRAGMA journal_mode").fetchone() != (journal,):
            return False
        return _has_table(connection)

    def _make(self, settings: Mapping[str, object]) -> None:
        import sqlite3

        import diskcache

        cache = diskcache.Cache.__new__(diskcache.Cache)  # apart from __init__, which leaves a connection if it fails
        try:
            cache.__init__(str(self._directory), timeout=_TIMEOUT_S, sqlite_synchronous=self._synchronous, **settings)
            _set_up(self.connection)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # settings that someone else wrote into the database
            raise IndexLost(f"{type(error).__name__}: {error}") from error
        finally:
            with contextlib.suppress(AttributeError):  # it did not get as far as having any
                cache.close()

    @property
    def connection(self) -> "sqlite3.Connection":
        """This thread's connection, opened when it is first asked for."""
        own: _Own | None = getattr(self._threads, "own", None)
        if own is None:
            own = self._threads.own = _Own(self._connect(), self._aside)
        return own.connection

    def _connect(self) -> "sqlite3.Connection":
        import sqlite3

        connection = sqlite3.connect(
            self._directory / _DATABASE[0],
            timeout=_TIMEOUT_S,
            isolation_level=None,  # transactions begin where we say
            check_same_thread=False,  # each is used by one thread, but whoever lets go of the index last closes it
        )
        try:
            for name, value in {**_PRAGMAS, "synchronous": self._synchronous}.items():
                connection.execute(f"PRAGMA {name} = {value}").close()
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_private(self) -> None:
        for name in _DATABASE:
            with contextlib.suppress(FileNotFoundError):
                self._files.set_mode(self._directory / name, 0o600)

    def get(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the records among `names`. Cost: 10 us for one, 2 us a name for more, 1 us for most of what there is."""
        try:
            connection = self.connection
            if len(names) == 1:
                found = connection.execute(_ONE, names).fetchall()
            elif len(names) >= _LONG and _has_at_most(connection, 2 * len(names)):
                wanted = set(names)
                found = [row for row in connection.execute(_ALL) if row[0] in wanted]
            else:
                found = _get_many(connection, sorted(names))
        except Exception as error:
            raise _translation(error) from error
        return {name: value for name, value in found if type(value) is bytes}

    def version(self) -> tuple[object, int]:
        """Return what changes whenever another connection commits: another process, store or thread."""
        try:
            connection = self.connection
            return connection, connection.execute("PRAGMA data_version").fetchone()[0]
        except Exception as error:
            raise _translation(error) from error

    def items(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Iterate over all records whose name starts with `prefix`, in order of name; changes meanwhile may show."""
        last, end = prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)
        while True:
            with _translated():
                rows = self.connection.execute(_PAGE, (last, end)).fetchall()
            yield from ((name, value) for name, value in rows if type(value) is bytes and type(name) is str)
            if len(rows) < _PAGE_ROWS:
                return
            last = rows[-1][0]

    def commit(self, change: Callable[[], tuple[Mapping[str, bytes], Iterable[str]]]) -> None:
        """Apply one transaction: `change` reads what it needs and returns what to put and what to remove.

        Cost: about 3 us a record and 0.1 ms a transaction; nothing is applied if anything fails.
        """
        with _translated(), self._lock():
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                put, remove = change()
                if gone := [(name,) for name in remove]:
                    connection.executemany(_DELETE, gone)
                connection.executemany(_UPSERT, sorted(put.items()))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def check(self) -> bool:
        """Say whether the database holds together, by reading all of it."""
        try:
            with _translated():
                self.connection.execute(_PAGE, ("e:", "e;")).fetchone()
                return bool(self.connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except (IndexLost, IndexBusy):
            return False

    def close(self) -> None:
        """Close this thread's connection; those of other threads close with their threads, or with the index."""
        with contextlib.suppress(IndexLost, IndexBusy), _translated(), self._lock():
            self._first = None  # closes it, if its thread is gone
            own: _Own | None = vars(self._threads).pop("own", None)
            if own is not None:
                own.let_go()


class _Own:
    """What a thread keeps of an index: its connection.

    A finalizer closes it, because a collection calls `__del__` in any order, and the connection's own may come first;
    `__del__` does when the interpreter ends, where finalizers are not called.
    """

    def __init__(self, connection: "sqlite3.Connection", aside: "set[sqlite3.Connection]") -> None:
        self.connection = connection
        self.let_go = functools.partial(_let_go, connection, aside, os.getpid(), os.getpid)
        weakref.finalize(self, self.let_go).atexit = False  # threads may still be using theirs then

    def __del__(self) -> None:
        self.let_go()


def _let_go(
    connection: "sqlite3.Connection", aside: "set[sqlite3.Connection]", pid: int, getpid: Callable[[], int]
) -> None:
    """Close a connection; in the child of a fork, put it `aside`."""
    if getpid() == pid:
        connection.close()
    else:
        aside.add(connection)


def _set_up(connection: "sqlite3.Connection") -> None:
    """Make our table, unless it is there."""
    if not _has_table(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _SET_UP:
                connection.execute(statement)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        connection.execute(_EMPTY).fetchone()


def _has_table(connection: "sqlite3.Connection") -> bool:
    """Say whether our table is there.

    Raises:
        sqlite3.Error: It is, and is not the one that we made.
    """
    if connection.execute(_HAS_TABLE).fetchone() is None:
        return False
    connection.execute(_EMPTY).fetchone()
    return True


def _has_at_most(connection: "sqlite3.Connection", n_rows: int) -> bool:
    """Whether there are certainly no more rows than this. Cost: one descent; no counting."""
    last = connection.execute(_LAST_ROW).fetchone()[0]
    return last is None or 0 < last <= n_rows


def _get_many(connection: "sqlite3.Connection", names: list[str]) -> list[tuple[str, object]]:
    """Return the rows of sorted names: neighbours lie on one page."""
    found: list[tuple[str, object]] = []
    for at in range(0, len(names), _BATCHES[-1]):
        asked = names[at : at + _BATCHES[-1]]
        size = next(size for size in _BATCHES if size >= len(asked))
        query = f"SELECT name, value FROM Records WHERE name IN ({','.join('?' * size)})"
        found += connection.execute(query, asked + asked[-1:] * (size - len(asked))).fetchall()
    return found


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _translation(error) from error


def _translation(error: Exception) -> Exception:
    """Return the one of our two signals that an error of the database means, or the error itself if it means neither."""
    import sqlite3

    if isinstance(error, sqlite3.Error):
        return (IndexLost if _is_lost(error) else IndexBusy)(str(error))
    if isinstance(error, UnicodeDecodeError):  # SQLite's complaint about a schema, with a name in it that is no text
        return IndexLost(str(error))
    if isinstance(error, OSError):
        return IndexBusy(error.strerror or str(error))
    return error


def _is_lost(error: "sqlite3.Error") -> bool:
    """Say whether SQLite found no usable database. Our statements are right, so a complaint about one is about it."""
    import sqlite3

    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # refused by the sqlite3 module: a setting in the database made a statement we would not write
        return True
    kinds = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH)
    return code & 0xFF in kinds or code == sqlite3.SQLITE_READONLY_DBMOVED
