"""Settings: defaults < `[tool.flowlib]` in pyproject.toml < `FLOWLIB_*` environment < `configure` < arguments.

The only reader of the environment. Settings are read once at a door and passed down; nothing below a door asks for them.
"""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import attrs

from flowlib.errors import ConfigError, near_miss
from flowlib.text import parse_bytes

ProgressMode = bool | Literal["auto", "terminal", "notebook", "plain"]


class Submits(Protocol):
    """An executor of `concurrent.futures`, or something with its interface: a client of dask.distributed."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function somewhere, and return its future."""


ExecutorChoice = Literal["threads", "processes", "inline", "dask", "ray"] | str | Submits
"""Where tasks run: a word, the address of a cluster ("dask://host:8786", "ray://host:10001"), or an executor."""

_CLUSTERS = ("dask", "ray")


@attrs.frozen(kw_only=True)
class Settings:
    """What a run can be told from outside the program."""

    cache: str | bool = True
    """A directory, True for `.flowlib/` in the project, or False for no cache."""
    workers: int = 0
    """Jobs at once; 0, which only stands here, chooses from the machine: CPUs + 4, at most 32; for processes the CPUs."""
    executor: ExecutorChoice = "threads"
    on_error: Literal["stop", "continue", "keep"] = "stop"
    progress: ProgressMode = "auto"
    max_nodes: int = 1_000_000
    """Nodes a run may grow to before it is taken for an endless recursion."""
    strict: bool = False
    """Digest every mutable input again after use, copies included."""
    fsync: Literal["off", "batch", "full"] = "batch"
    """When written results are forced to disk: never, with each group, or one by one."""
    state_dir: str = ""
    """Where the key of the cache lives; the user's state directory unless given."""
    log: bool = False
    """Whether notices go to loguru, too."""
    pools: Mapping[str, int] = attrs.field(factory=dict)
    """How many calls that name a pool run at once, by name."""
    resources: Mapping[str, float | str] = attrs.field(factory=dict)
    """How much there is of what tasks ask for; of `cpu` and `memory` what the machine has, unless given."""
    cache_key: str = ""
    """A shared secret for caches that travel between machines, instead of the key in `state_dir`."""

    @property
    def n_workers(self) -> int:
        """Jobs at once, resolved."""
        if self.workers or self.executor == "processes":
            return self.n_processes
        return min(32, (os.cpu_count() or 1) + 4)

    @property
    def n_processes(self) -> int:
        """Processes at once, resolved."""
        return self.workers or n_cpus()


_NAMES = frozenset(field.name for field in attrs.fields(Settings))
_SIZES = ("pools", "resources")
_ENVIRONMENT_ONLY = frozenset({"cache_key"})
_WORDS: dict[str, tuple[object, ...]] = {
    "on_error": ("stop", "continue", "keep"),
    "progress": (True, False, "auto", "terminal", "notebook", "plain"),
    "fsync": ("off", "batch", "full"),
}
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "cache": ((str, bool, os.PathLike), "Give a directory, true or false."),
    "strict": ((bool,), "Give true or false."),
    "log": ((bool,), "Give true or false."),
    "state_dir": ((str,), "Give a directory."),
    "cache_key": ((str,), "Give a text."),
}
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class _Configured:
    """What `configure` was told: the one piece of process-wide state, because notebooks set it once for all cells."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}


_configured = _Configured()


def executor_trouble(executor: object, *, or_object: bool) -> str:
    """Return what to do about a name or an object that is no executor; empty if it is one.

    >>> executor_trouble("threads", or_object=False), executor_trouble("dask://10.0.0.1:8786", or_object=False)
    ('', '')
    >>> executor_trouble("dusk", or_object=False)
    "Did you mean 'dask'?"
    """
    words = ("threads", "processes", "inline", *_CLUSTERS)
    if isinstance(executor, str):
        kind, separator, address = executor.partition("://")
        is_known = kind in _CLUSTERS and bool(address) if separator else executor in words
        return "" if is_known else near_miss(executor, words)
    if or_object and callable(getattr(executor, "submit", None)):
        return ""
    return f"Known: {', '.join(words)}" + (", or an executor of concurrent.futures." if or_object else ".")


def configure(**settings: Any) -> None:
    """Set settings for every later run of this process. Without arguments, forget what was set.

    Args:
        **settings: Fields of `Settings`: cache, workers, executor, on_error, progress, max_nodes, strict, fsync,
            state_dir, log, pools, resources.

    Raises:
        ConfigError: A name or a value is not known.

    >>> configure(workers=4)
    >>> load_settings({}).n_workers
    4
    >>> configure()
    """
    if not settings:
        _configured.settings = {}
        return
    _checked(settings, "flowlib.configure")
    _configured.settings = _merged(_configured.settings, settings)


def load_settings(arguments: Mapping[str, Any], start: Path | None = None) -> Settings:
    """Return the settings in force: from the project, the environment, `configure` and `arguments`, in that order.

    Args:
        arguments: What a call was given; None values count as not given.
        start: Where to look for the project; the current directory unless given.

    Raises:
        ConfigError: A name or a value is not known; the error says where it was written.
    """
    root = project_root(start)
    given = {name: value for name, value in arguments.items() if value is not None}
    merged: dict[str, Any] = {}
    for level in (_from_project(root), _from_environment(), _configured.settings, given):
        merged = _merged(merged, level)
    return Settings(**_checked(merged, "the arguments"))


def project_root(start: Path | None = None) -> Path:
    """Return the nearest directory upwards that holds pyproject.toml or .git; `start` itself if none does.

    Raises:
        ConfigError: There is no current directory to start from.
    """
    try:
        here = (start or Path.cwd()).absolute()
    except FileNotFoundError:
        hint = "Change to a directory that exists."
        raise ConfigError("The current directory was removed.", {}, hint) from None
    place = os.fspath(here)  # a text, because every run asks: paths would take three times as long
    while not (os.path.isfile(os.path.join(place, "pyproject.toml")) or os.path.exists(os.path.join(place, ".git"))):
        if (above := os.path.dirname(place)) == place:
            return here
        place = above
    return Path(place)


def cache_directory(settings: Settings, start: Path | None = None) -> Path | None:
    """Return the directory of the cache, or None when it is off."""
    if settings.cache is False:
        return None
    if settings.cache is True:
        return project_root(start) / ".flowlib"
    return Path(settings.cache).expanduser().absolute()


def state_directory(settings: Settings) -> Path:
    """Return where flowlib keeps what must not travel with a cache: the user's state directory."""
    if settings.state_dir:
        return Path(settings.state_dir).expanduser()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "flowlib"


def n_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wants_no_color() -> bool:
    """Whether the user asked for plain text (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def environment() -> Mapping[str, str]:
    """Return the environment variables as they are now."""
    return dict(os.environ)


def take_environment(variables: Mapping[str, str]) -> None:
    """Make the environment of this process what it is in another one."""
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in variables.items() if os.environ.get(name) != value})


def set_variables(variables: Mapping[str, str | None]) -> None:
    """Set some environment variables of this process; None removes one."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def scratch_directory() -> Path:
    """Return where the system wants temporary files."""
    import tempfile

    return Path(tempfile.gettempdir())


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of two levels; of sizes by name, each name's upper one."""
    sizes = {name: {**lower[name], **upper[name]} for name in _SIZES if name in lower and name in upper}
    return {**lower, **upper, **sizes}


def machine_resources() -> dict[str, float | str]:
    """Return how many CPUs and how many bytes of memory there are for this process."""
    found: dict[str, float | str] = {"cpu": n_cpus()}
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # a system that does not say
        return found
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
    except (OSError, ValueError):
        limit = "max"
    return found | {"memory": min(memory, int(limit)) if limit.isdigit() else memory}


def _from_project(root: Path) -> dict[str, Any]:
    """Return what the project's own file says. A file that does not name flowlib is for other tools to complain about."""
    path = root / "pyproject.toml"
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), "Make it readable.") from None
    found = _settings_in(path, data) if b"flowlib" in data else {}
    return {name: dict(value) if name in _SIZES else value for name, value in found.items()}


@functools.lru_cache(maxsize=8)
def _settings_in(path: Path, data: bytes) -> Mapping[str, Any]:
    """Return what a project's file says, for reading only. Kept by its content: every run asks, and it seldom changes."""
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, "it is not UTF-8", "Save it as UTF-8.", line) from None
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).partition(" (at ")
        number = re.match(r"line (\d+)", place)
        line = int(number[1]) if number else data.rstrip().count(b"\n") + 1  # "at end of document"
        raise _unreadable(path, reason, "Correct it: settings for flowlib may stand there.", line) from None
    table: Any = document
    for name in ("tool", "flowlib"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise _unreadable(path, f"{name!r} is {table!r:.40}, not a table", "Write: [tool.flowlib]")
    where = f"[tool.flowlib] in {path.name}"
    for name in _ENVIRONMENT_ONLY & table.keys():
        raise ConfigError(f"{name!r} must not be written into a file.", {"found in": where}, "Set FLOWLIB_CACHE_KEY.")
    return _checked(table, where)


def _unreadable(path: Path, reason: str, hint: str, line: int | None = None) -> ConfigError:
    place = f"{path}:{line}" if line else str(path)
    return ConfigError("The project's settings cannot be read.", {"file": place, "reason": reason}, hint)


def _from_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in [variable for variable in os.environ if variable.startswith("FLOWLIB_")]:
        if text := os.environ.get(variable):
            name = variable.removeprefix("FLOWLIB_").lower()
            found[name] = _parsed(name, text, variable)
    return _checked(found, "the environment (FLOWLIB_...)")


def _parsed(name: str, text: str, variable: str) -> Any:
    if name in ("workers", "max_nodes"):
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{variable}={text!r} is not a whole number.", {}, "Give a number, such as 4.") from None
    if name in _SIZES:
        pairs = [pair.partition("=") for pair in text.split(",")]
        return {key.strip(): _number(value.strip()) for key, _, value in pairs}
    if name in ("cache", "progress", "strict", "log") and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    return text


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_sizes(name: str, sizes: object, where: str) -> None:
    is_table = isinstance(sizes, Mapping) and all(isinstance(key, str) and key for key in sizes)
    if name == "pools" and (not is_table or not all(type(n) is int and n > 0 for n in sizes.values())):  # type: ignore[attr-defined]
        hint = 'Give whole numbers by name, at least 1: {"db": 2}, or FLOWLIB_POOLS=db=2,api=4.'
        raise ConfigError(f"Setting {name} cannot be {sizes!r}.", {"found in": where}, hint)
    if name == "resources" and (not is_table or not all(map(_is_amount, sizes.items()))):  # type: ignore[attr-defined]
        hint = 'Give amounts by name: {"gpu": 1, "memory": "8 GB"}, or FLOWLIB_RESOURCES=gpu=1,memory=8GB.'
        raise ConfigError(f"Setting {name} cannot be {sizes!r}.", {"found in": where}, hint)


def _is_amount(pair: tuple[str, object]) -> bool:
    name, amount = pair
    if isinstance(amount, str):
        return name == "memory" and parse_bytes(amount) is not None
    return isinstance(amount, int | float) and not isinstance(amount, bool) and 0 <= amount < float("inf")


def _checked(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    for name, value in settings.items():
        if name not in _NAMES:
            raise ConfigError(f"There is no setting {name!r}.", {"found in": where}, near_miss(name, _NAMES))
        if name in _WORDS and not any(value is word or (type(value) is str and value == word) for word in _WORDS[name]):
            known = ", ".join(str(word) for word in _WORDS[name])
            raise ConfigError(f"Setting {name} cannot be {value!r}.", {"found in": where}, f"Known: {known}.")
        if name in _SIZES:
            _check_sizes(name, value, where)
        if name == "executor" and (hint := executor_trouble(value, or_object=True)):
            raise ConfigError(f"Setting executor cannot be {value!r:.80}.", {"found in": where}, hint)
        if name in ("workers", "max_nodes") and (type(value) is not int or value < 1):
            hint = "Give a whole number from 1 on."
            raise ConfigError(f"Setting {name} cannot be {value!r}.", {"found in": where}, hint)
        kinds, hint = _KINDS.get(name, ((object,), ""))
        if not isinstance(value, kinds):
            raise ConfigError(f"Setting {name} cannot be {value!r:.60}.", {"found in": where}, hint)
    return dict(settings)
