"""Paths and URIs as users write them: told without what is secret in them."""

import re

_USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@]*:(?!\d+/)[^@]*@")
"""Secrets may hold slashes; digits up to a slash are a port."""
_QUERY = re.compile(r"\?\S*")
_SECRET_IN_QUERY = re.compile(r"[?&][^=&]*(key|secret|token|password|passwd|signature|sig)=", re.I)


def is_uri(place: str) -> bool:
    """Whether a place is a URI and not a path of this machine."""
    return "://" in place


def holds_secret(place: str) -> bool:
    """Whether a URI holds a password, or a key in its query."""
    secret = _USER_AND_PASSWORD.search(place) or _SECRET_IN_QUERY.search(place)
    return is_uri(place) and secret is not None


def without_secrets(text: str) -> str:
    """A place, or a message that speaks of one, as it may be shown."""
    return _QUERY.sub("?...", _USER_AND_PASSWORD.sub("***@", text)) if is_uri(text) else text
