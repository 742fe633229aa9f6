"""What `--help` prints: the commands and exit codes, one command, or one command with the options of a pipeline."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cyclopts import App, Group

from flowlib.cli.building import takes_options
from flowlib.cli.exits import MEANINGS
from flowlib.cli.loading import load
from flowlib.cli.options import Options, options_of, parsed_so_far
from flowlib.cli.trouble import short_path
from flowlib.config import wants_no_color
from flowlib.errors import UsageError

HELP_FLAGS = ("--help", "-h")

_INTRODUCTION = """\
Pipelines as plain Python functions: every result is kept, and reused until
something it depends on changes.
"""

_SECTIONS: Mapping[str, str] = {
    "Usage": """\
  flowlib COMMAND FILE[:NAME] [OPTIONS]
""",
    "Commands": """\
  run     Run what is missing and print the value.
  plan    Show what is cached, what would run, and why. Runs nothing.
  why     Explain what changed since the last time, down to the line.
  cache   List, measure, verify, repair, remove kept results.
""",
    "Examples": """\
  flowlib run train.py --lr 0.1         the function `pipeline` of train.py
  flowlib run train.py:study --json     another function, task or node in it
  flowlib run train.py --help           its parameters, as options
  flowlib plan train.py --check         for CI: is there anything to do?
  flowlib cache gc --older-than 30d     make room
""",
    "Target": """\
  FILE is a Python file; it is imported, not run as a script. NAME is a function
  that returns nodes, a task, or a node. Unless given, it is `pipeline`, or the
  only name that could be meant. A parameter with the name of one of flowlib's
  own options is given after `--`: flowlib run train.py -- --workers 3
""",
}

_OUTPUT = """\
  The value goes to standard output, everything else to standard error. With
  --json, standard output is one JSON document, errors included.
  Settings come from [tool.flowlib] in pyproject.toml and FLOWLIB_* variables.
"""


def is_help_wanted(words: Sequence[str]) -> bool:
    """Tell whether help is asked for."""
    return any(word in HELP_FLAGS for word in words)


def print_root_help() -> None:
    """Print what the command is for, its commands and its exit codes; 80 columns are enough."""
    codes = "".join(f"  {int(code):>3}   {meaning}\n" for code, meaning in MEANINGS.items())
    sections = {**_SECTIONS, "Exit codes": codes, "Output": _OUTPUT}
    opening, closing = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() and not wants_no_color() else ("", "")
    print(_INTRODUCTION)
    print("\n".join(f"{opening}{title}{closing}\n{text}" for title, text in sections.items()).rstrip())


def print_help(app: App, words: Sequence[str]) -> None:
    """Print the help of one command; with the options of the pipeline if its file is named.

    Raises:
        Ended: The file cannot be imported.
    """
    asked = [word for word in words if word not in HELP_FLAGS]
    verb = asked[0]
    text = ""
    if verb != "cache":
        try:
            command, bound, _, _ = parsed_so_far(app, asked, ())
            text = str(bound.arguments.get("target", ""))
        except UsageError:  # the help of a wrong command is that of the command
            text = ""
    if text:
        _print_pipeline_help(verb, text, command)
    else:
        app.help_print(asked)


def _print_pipeline_help(verb: str, text: str, command: Any) -> None:
    loaded = load(text)
    value = loaded.value
    options = options_of(value, loaded.name) if takes_options(value) else Options(named=loaded.name, doc="", options=())
    entry = options.as_function(Group(f"Parameters of {loaded.name} in {short_path(loaded.path)}", sort_key=1))
    own = [p for p in inspect.signature(command).parameters.values() if p.name not in ("target", "tokens", "own")]
    names = {"--" + parameter.name.replace("_", "-") for parameter in own}
    mine = [p for p in inspect.signature(entry).parameters.values() if "--" + p.name.replace("_", "-") not in names]
    hidden = [option.flag for option in options.options if option.flag in names]
    vars(entry)["__signature__"] = inspect.Signature([*mine, *own])
    app = App(name=f"flowlib {verb} {text}", help_flags=[], version_flags=[], help_format="plaintext")
    app.default(entry)
    app.help_print([])
    if hidden:
        print(f"Parameters with the names of flowlib's own options, given after --: {', '.join(hidden)}")
