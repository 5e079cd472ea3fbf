"""Errors about the files of a run and about its storage."""


class RunError(ValueError):
    """The directory or record of a run cannot be used; the message is one line for the user."""


class StorageError(OSError):
    """A storage cannot be reached or used; the message is one line for the user."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
