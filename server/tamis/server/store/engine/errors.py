"""What the engine may have to say instead of an answer; `service.py` makes statuses of them."""


class NoCollectionError(Exception):
    """There is none of that name."""


class CollectionThereError(Exception):
    """There is one of that name."""


class DamagedError(Exception):
    """It is there, and cannot be opened."""


class FullError(Exception):
    """There is no room for it on the disk."""


class FolderInUseError(Exception):
    """Another engine has the folder open."""


class UnsupportedError(Exception):
    """A cluster can do this, the embedded engine cannot."""
