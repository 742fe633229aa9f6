"""The normal form of a function's code: what a code version is made of."""

from typing import Literal

import attrs

from flowlib.ids import Digest


@attrs.frozen(kw_only=True)
class Form:
    """The normal form of a function's code.

    Attributes:
        kind: Made from verified source, or from bytecode.
        digest: Of the normal form's text.
        free: Free variables in the order in which the text numbers them.
        names: Names that are not local; None when the form cannot tell (bytecode).
        text: The source as written, dedented; empty for bytecode.
    """

    kind: Literal["source", "bytecode"]
    digest: Digest
    free: tuple[str, ...]
    names: frozenset[str] | None = None
    text: str = ""
