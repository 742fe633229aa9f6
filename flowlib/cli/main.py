"""The command `flowlib`: words in, one exit code out.

Theory of operation: cyclopts reads flowlib's own options wherever they stand; the words it does not know belong to the
pipeline, whose options are not known before its file is imported. Whatever ends a command early comes here as an
exception and is told once.

Rules: data goes to standard output, everything else to standard error. With `--json`, standard output is one document,
errors included. No traceback shows flowlib, and the user's mistakes have none.
"""

import os
import sys
from collections.abc import Sequence
from importlib import metadata

from cyclopts import App

from flowlib.cli.cache import cache_app
from flowlib.cli.exits import Ended, Exit
from flowlib.cli.help import HELP_FLAGS, is_help_wanted, print_help, print_root_help
from flowlib.cli.options import own_flags, parsed_so_far, unknown_word
from flowlib.cli.plan import plan
from flowlib.cli.run import run
from flowlib.cli.trouble import tell
from flowlib.cli.why import why
from flowlib.errors import ConfigError, FlowError, StoreTrouble, UsageError, near_miss

VERBS = ("run", "plan", "why", "cache")
_PIPE_CLOSED = 141
"""What a shell reports for a process whose reader went away."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The words after `flowlib`; those of the process unless given.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a value may hold what the terminal cannot show
    own, rest = _split(words)
    try:
        code = _told(own, rest)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()
        return _PIPE_CLOSED
    except OSError as error:
        if error.filename is not None:  # a stream has none
            raise
        _drop_output()
        return tell(Ended(Exit.OUTPUT, _unwritten(error)), as_json=False)


def _told(own: list[str], rest: list[str]) -> int:
    try:
        return int(_dispatch(own, rest))
    except Ended as ended:
        return tell(ended, as_json="--json" in own)
    except (FlowError, KeyboardInterrupt) as error:
        return tell(Ended(_code_of(error), error), as_json="--json" in own)


def _drop_output() -> None:
    """Let what standard output did not take go nowhere, else the interpreter complains at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritten(error: OSError) -> UsageError:
    reason = error.strerror or str(error)
    return UsageError("The output cannot be written.", {"reason": reason}, "What was computed is kept; run it again.")


def _open_closed_streams() -> None:
    """Let what is written to a stream that the caller closed (`2>&-`) go nowhere, instead of failing the command."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)


def command_app() -> App:
    """Return the commands as cyclopts knows them."""
    app = App(name="flowlib", help_flags=HELP_FLAGS, version_flags=[], help_format="plaintext")
    for verb in (run, plan, why):
        app.command(verb)
    app.command(cache_app())
    return app


def version() -> str:
    """Return the version of the installed package."""
    try:
        return metadata.version("flowlib")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _dispatch(own: list[str], rest: list[str]) -> Exit:
    app = command_app()
    if not own or own[0] in HELP_FLAGS:
        print_root_help()
        return Exit.OK
    if own[0] in ("--version", "version"):
        print(f"flowlib {version()}")
        return Exit.OK
    if own[0] not in VERBS:
        raise _no_such_verb(own)
    if is_help_wanted(own):
        print_help(app, own)
        return Exit.OK
    known = own_flags(app[own[0]]) if own[0] != "cache" else ()
    hint = "Add --help for all options." if own[0] == "cache" else "Options of the pipeline stand after the file."
    command, bound, unused, ignored = parsed_so_far(app, own, known, otherwise=hint)
    if "tokens" in ignored:
        code: Exit = command(*bound.args, **bound.kwargs, tokens=(*unused, *rest), own=tuple(known))
        return code
    if unused or rest:
        raise unknown_word((unused + rest)[0], known, otherwise=hint)
    done = command(*bound.args, **bound.kwargs)
    return done if isinstance(done, Exit) else Exit.OK


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Split at the first `--`: what stands behind it belongs to the pipeline alone."""
    if "--" not in words:
        return words, []
    position = words.index("--")
    return words[:position], words[position + 1 :]


def _no_such_verb(own: list[str]) -> UsageError:
    word = own[0]
    if word.partition(":")[0].endswith(".py") or os.path.isfile(word):
        return UsageError("What should be done with the file?", {}, f"Did you mean: flowlib run {' '.join(own)}")
    if word.startswith("-"):
        return UsageError(
            f"There is no option {word} here.", {}, "The command comes first: flowlib run FILE --name value."
        )
    return UsageError(f"There is no command {word!r}.", {}, near_miss(word, VERBS))


def _code_of(error: BaseException) -> Exit:
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, StoreTrouble):
        return Exit.CACHE
    return Exit.USAGE if isinstance(error, UsageError | ConfigError) else Exit.INVALID
