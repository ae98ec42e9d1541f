"""What can go wrong in a method.

TamisError
├── SettingsError        a setting is missing, unknown or out of range
│   └── UnknownMethodError   no file of that name in the family's folder
├── ModelError           a model's files are missing, damaged or of another kind
└── InputError           the request cannot be served as it is: the caller must change it
    └── ImageError           the bytes are not a picture that we read
"""


class TamisError(Exception):
    """Base of every error that this project raises on purpose."""


class SettingsError(TamisError):
    """A setting is missing, unknown or out of range."""


class UnknownMethodError(SettingsError):
    """No method of that name in the family."""


class ModelError(TamisError):
    """A model's files are missing, damaged or of another kind."""


class InputError(TamisError):
    """The request cannot be served as it is: the caller must change it."""


class ImageError(InputError):
    """The bytes are not a picture that we read, or one that is too large."""
