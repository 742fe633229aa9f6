"""One run's view of what things are: digests of values and versions of code, consistent with each other."""

from flowlib.hashing.canonical import digest_value
from flowlib.hashing.code import CodeVersion, CodeVersions
from flowlib.hashing.encoding import FileMemo
from flowlib.hashing.forms import SourceIndex
from flowlib.hashing.kept import Texts
from flowlib.hashing.scalars import ScalarDigests
from flowlib.ids import Digest


class Identity:
    """Digests of values and versions of code for one run. Safe to share by threads.

    Functions and classes inside values count by their code version, so a callback passed as an argument is as well
    tracked as one that is called by name. What was seen once is frozen: a file edited during the run changes nothing.

    >>> identity = Identity()
    >>> identity.digest({"a": 1, "b": 2}) == identity.digest({"b": 2, "a": 1})
    True

    Args:
        index: What is known of source files; shared by the process unless given.
        files: Where digests of unchanged files are kept between runs; none unless given.
        texts: Where normal forms of unchanged code are kept between processes: a store's `texts`; none unless given.
    """

    def __init__(
        self, index: SourceIndex | None = None, files: FileMemo | None = None, texts: Texts | None = None
    ) -> None:
        self._codes = CodeVersions(index, texts)
        self._files = files
        self._scalars = ScalarDigests()

    def scalar_digest(self, value: object) -> Digest | None:
        """Return the digest of a plain scalar of Python's own, None for anything else. Never raises."""
        return self._scalars.find(value)

    def digest(self, value: object, path: str = "") -> Digest:
        """Return the canonical digest of a value. `path` says where it sits, for errors.

        Raises:
            Undigestible: The value, or something in it, has no stable digest.
        """
        digest = self._scalars.find(value)
        if digest is not None:
            return digest
        return digest_value(value, function_digest=self._codes.digest, path=path, files=self._files)

    def code_version(self, fn: object) -> CodeVersion:
        """Return the version of a function's code; see `CodeVersions.version`.

        Raises:
            CodeNotFound: `fn` is nothing that has code.
        """
        return self._codes.version(fn)

    def take_unkept(self, texts: Texts) -> dict[str, str]:
        """Return what a store should keep about code, for the next process; see `hashing.kept`."""
        return self._codes.take_unkept(texts)

    def is_current(self, fn: object) -> bool:
        """Whether a function whose version was asked for still runs that code; see `hashing.loaded`."""
        return self._codes.is_current(fn)


def digest(value: object) -> Digest:
    """Return the digest of a value: equal for equal content in any process, different for any difference.

    Raises:
        Undigestible: A part of the value has no stable digest; the error names the path to it.

    Cost: see `digest_value`; about 0.2 microseconds more.

    >>> digest({"a": 1, "b": 2.0}) == digest({"b": 2.0, "a": 1})
    True
    >>> digest(1) == digest(True)
    False
    """
    return digest_value(value, function_digest=_OwnCodes())


class _OwnCodes:
    """Names code for one digest; made for every one and needed by few."""

    _codes: CodeVersions | None = None

    def __call__(self, fn: object) -> Digest:
        if self._codes is None:
            self._codes = CodeVersions()
        return self._codes.digest(fn)
