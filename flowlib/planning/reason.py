"""Why a node runs, or does not: a closed set of reasons and the two texts that show them."""

from typing import Literal

import attrs

ReasonKind = Literal[
    "first seen",
    "code changed",
    "version changed",
    "argument changed",
    "upstream changed",
    "environment changed",
    "file changed",
    "file missing",
    "expired",
    "forced",
    "result missing",
    "not cached",
    "cache off",
    "new arguments",
]


@attrs.define(kw_only=True, unsafe_hash=True)
class Reason:
    """One reason for a miss. Nobody changes one; it is not frozen because misses come by the thousand.

    >>> print(Reason(kind="argument changed", subject="lr", old="0.1", new="0.2"))
    argument changed: lr: 0.1 -> 0.2
    """

    kind: ReasonKind
    subject: str = ""
    """The parameter, function, variable or file it is about."""
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        text: str = self.kind
        if self.subject:
            text += f": {self.subject}"
        if self.old or self.new:
            text += f": {self.old or '(none)'} -> {self.new or '(none)'}"
        return text
