"""Whether a worker process has the code that the run has."""

import importlib
from collections.abc import Iterable
from typing import Any

from flowlib.execution.wire import Proof
from flowlib.hashing.identity import Identity
from flowlib.ids import Digest


def are_proven(proofs: Iterable[Proof], identity: Identity) -> bool:
    """Whether definitions have the code versions they should."""
    return all(_is_proven(proof, identity) for proof in proofs)


def _is_proven(proof: Proof, identity: Identity) -> bool:
    try:
        for module in proof.modules:
            importlib.import_module(module)
        function = getattr(proof.definition, "fn", proof.definition)
        return identity.code_version(function).digest == proof.version
    except Exception:  # whatever the import of a module of the user's may raise
        return False


def digest_or_none(value: Any, identity: Identity) -> Digest | None:
    """Return the digest of a value; None if it has none here, for whatever reason."""
    try:
        return identity.digest(value)
    except Exception:  # refused, or a hook of the user's own class raised
        return None
