"""Folded text: what two texts must have in common to be "the same text"."""

import hashlib
import re

_LINKS_AND_MENTIONS = re.compile(r"https?://\S+|www\.\S+|@\w+")
# \w also holds digits such as "²" that are not decimal; they are not letters either.
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_REMOVED_WORDS = frozenset({"user", "rt", "url"})
_IDENTITY_BYTES = 16


def fold(text: str) -> str:
    """Fold a text to what makes it the same text as another.

    Lower case; links, @mentions and the words user, rt and url are removed; every run of
    characters that are not letters becomes one space; the ends are trimmed. Words are runs of
    letters, so that "RT2" loses its "rt" too and folding twice changes nothing. The result is
    empty when nothing else is left, as of emoji alone.
    """
    letters = _NOT_LETTERS.sub(" ", _LINKS_AND_MENTIONS.sub(" ", text.lower()))
    if not letters.isascii():
        letters = "".join(character if character.isalpha() else " " for character in letters)
    return " ".join(word for word in letters.split() if word not in _REMOVED_WORDS)


def identity(folded: str) -> bytes:
    """Hash of a folded text that never changes: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(
        folded.encode("utf-8", "surrogatepass"), digest_size=_IDENTITY_BYTES
    ).digest()


def identity_of_text(text: str) -> bytes:
    """Identity of a text by its folded text, or by itself where nothing is left of it folded."""
    return identity(fold(text) or text)
