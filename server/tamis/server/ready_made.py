"""Representations that a caller brings instead of letting the server make them."""

from collections.abc import Mapping

from tamis.models.errors import InputError
from tamis.models.types import Head, Kind, Representation, Sparse


def check(given: Mapping[str, Representation], heads: Mapping[str, Head]) -> None:
    """Refuses what none of the encoders could have made.

    Raises:
        InputError: A name is unknown, or a representation is of another kind or length.
    """
    for name, value in given.items():
        if name not in heads:
            raise InputError(f"representations[{name!r}]: not one of {', '.join(sorted(heads))}")
        kind = heads[name].kind
        if isinstance(value, Sparse) != (kind is Kind.SPARSE):
            raise InputError(f"representations[{name!r}]: needs to be {kind}")
        if isinstance(value, Sparse):
            continue
        axes, dim = 1 if kind is Kind.DENSE else 2, heads[name].dim
        if value.ndim != axes or value.shape[-1] != dim:
            raise InputError(
                f"representations[{name!r}]: has shape {list(value.shape)}; needs {axes} axes, "
                f"the last one of {dim}"
            )


def check_fingerprints(said: Mapping[str, str], held: Mapping[str, str], holder: str) -> None:
    """Refuses representations that are of another encoder, as far as their caller says of which.

    Args:
        said: The fingerprints that the caller says, by name.
        held: Those that they must be of.
        holder: Who has these, for the error.

    Raises:
        InputError: One is of another.
    """
    for name, fingerprint in said.items():
        if fingerprint != held.get(name):
            raise InputError(
                f"representations[{name!r}]: is of fingerprint {fingerprint[:80]}; "
                f"{holder} has {held.get(name)}"
            )
