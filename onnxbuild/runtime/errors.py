"""What can go wrong in a deployment, as exceptions whose messages say what was given and what is expected."""

from __future__ import annotations


class PackageError(Exception):
    """The folder is no delivered package, or not the one that was delivered."""


class ProviderError(Exception):
    """The execution provider that was asked for is not the one that would compute."""


class InputError(ValueError):
    """The arrays given are not what the model was built and proved for."""
