"""A table behind a URI, brought to this machine once."""

import posixpath
import re
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from training.errors import InputError


def is_uri(path: str) -> bool:
    """Whether the path of a table is a URI that fsspec opens."""
    return "://" in path


def local_copy(uri: str) -> Path:
    """The file behind a URI, copied here at the first call and kept until the process ends.

    Raises:
        InputError: it cannot be read, or the URI holds a password.
    """
    if _SECRET.search(uri):
        scheme = uri.partition("://")[0]
        raise InputError(
            f"data.path is a URI of {scheme}://, but must hold no user, password or query: it would"
            " stand in the run's files; give credentials by the environment"
        )
    return _fetched(uri)


_SECRET = re.compile(r"://[^/]*@|://[^/@]*:(?!\d+/)[^@]*@|\?")
"""Passwords may hold slashes; digits up to a slash are a port."""

_copies: list[tempfile.TemporaryDirectory[str]] = []
"""Removed when the process ends."""


@cache
def _fetched(uri: str) -> Path:
    scratch = tempfile.TemporaryDirectory(prefix="data-")
    _copies.append(scratch)
    place = Path(scratch.name) / (posixpath.basename(urlsplit(uri).path) or "table")
    try:
        files, path = fsspec.core.url_to_fs(uri)
        files.get_file(path, str(place))
    except ImportError as error:
        raise InputError(f"data.path is {uri!r}, but {error}; install it with pip") from error
    except Exception as error:  # each kind of storage has classes of its own
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(
            f"data.path is {uri!r}, but it cannot be read ({reason}); check the URI and the"
            " credentials in the environment"
        ) from error
    if not place.is_file():
        raise InputError(f"data.path is {uri!r}, but there is no file; give the URI of a table")
    return place
