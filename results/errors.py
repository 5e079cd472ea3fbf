"""What is wrong with a run's files or its storage, as classes."""


class RunError(ValueError):
    """A run's directory or record cannot be used; the message is one line for the user."""


class StorageError(OSError):
    """A storage cannot be reached or used; the message is one line for the user."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
