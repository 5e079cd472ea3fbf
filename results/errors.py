"""What is wrong with a run's files, as one class."""


class RunError(ValueError):
    """A run's directory or record cannot be used; the message is one line for the user."""
