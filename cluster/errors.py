"""What keeps a search from running on its cluster."""


class ClusterError(RuntimeError):
    """Ray cannot be reached, started or kept; the message is one line for the user."""
