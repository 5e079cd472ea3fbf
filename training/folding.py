"""Normalise texts: which are duplicates (`drop_key`), and which must share a split (`fold`).

One row is kept of those with equal drop keys. Texts with equal folds may differ in digits, emoji or
signs: all of them are kept, in one split. Equal drop keys have equal folds.
"""

import hashlib
import re
import unicodedata
from itertools import dropwhile

_MARK = ("Mn", "Mc")
# Every mark that is no variation selector; those of other planes are all selectors.
_MARKS = "".join(
    chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code)) in _MARK
)
_REORDERED = "".join(mark for mark in _MARKS if unicodedata.combining(mark))

_JOINER_RANGES = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x180B, 0x180F),  # Mongolian variation selectors and vowel separator
    (0x200C, 0x200D),  # zero width non-joiner and joiner
    (0x2060, 0x2060),  # word joiner
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # zero width no-break space, the word joiner of old
    (0xE0100, 0xE01EF),  # variation selectors supplement
)
_JOINERS = "".join(chr(code) for low, high in _JOINER_RANGES for code in range(low, high + 1))

# A name in a script with vowel signs includes them, which \w does not.
_LINK_OR_MENTION = re.compile(rf"https?://\S+|www\.\S+|@\w[\w{_MARKS}{_JOINERS}]*")
_ASCII_WORD = re.compile(r"[a-z]+")
_LONG_RUN = re.compile(rf"[{_REORDERED}]{{32,}}")
_LONG = 1_000
_REMOVED_WORDS = frozenset({"user", "rt", "url"})
_IDENTITY_BYTES = 16
_FINGERPRINT_BYTES = 8


class _Letters(dict[int, int | None]):
    """For `str.translate`: keep letters and marks, remove joiners, replace all else by a space."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        stays = character.isalpha() or unicodedata.category(character) in _MARK
        self[code] = None if character in _JOINERS else code if stays else ord(" ")
        return self[code]


_LETTERS = _Letters()


def drop_key(text: str) -> str:
    """Return the key by which texts are duplicates of each other.

    Unicode NFC; lower case; links and @mentions removed; every run of white space becomes one
    space; the ends are trimmed. If nothing is left, the key is the text itself. Digits, emoji and
    signs are kept.
    """
    return _normal(text) or text


def fold(text: str) -> str:
    """Return the folded text; equal folded texts must not be in two splits.

    As `drop_key`, then: variation selectors and joiners are removed; every run of characters that
    are neither letters nor marks (Mn, Mc) after a letter becomes one space; the words user, rt and
    url are removed; the ends are trimmed. Words are runs of letters with their marks, so "RT2"
    loses its "rt" too. Folding twice changes nothing. The result may be empty, as for a text of
    emoji alone.
    """
    return _fold_normal(_normal(text))


def fold_and_identity(text: str) -> tuple[str, bytes]:
    """Return `fold` and `identity` of a text, normalising it once."""
    normal = _normal(text)
    return _fold_normal(normal), _hash(normal or text, _IDENTITY_BYTES)


def identity(text: str) -> bytes:
    """Hash a text's drop key, the same in every version: BLAKE2b, 16 bytes."""
    return _hash(drop_key(text), _IDENTITY_BYTES)


def fingerprint(text: str) -> bytes:
    """Hash a text's drop key, the same in every version: BLAKE2b, 8 bytes.

    For lists of the texts that a model was trained on: a text that is not among ten million listed
    ones is taken for one of them with a probability below 1e-12.
    """
    return _hash(drop_key(text), _FINGERPRINT_BYTES)


def _hash(key: str, size: int) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _normal(text: str) -> str:
    """Normalise to NFC and lower case without links, mentions and runs of white space."""
    # Lower case may undo NFC: "İ" becomes two characters.
    lower = _composed(_composed(text).lower())
    if "@" in lower or "http" in lower or "www." in lower:
        lower = _LINK_OR_MENTION.sub(" ", lower)
    return " ".join(lower.split())


def _fold_normal(normal: str) -> str:
    if normal.isascii():
        words = _ASCII_WORD.findall(normal)
    else:
        # Once a joiner is removed, a letter and its mark may compose to one character.
        words = _composed(normal.translate(_LETTERS)).split()
        words = [word if word[0].isalpha() else _from_first_letter(word) for word in words]
    return " ".join(word for word in words if word and word not in _REMOVED_WORDS)


def _from_first_letter(word: str) -> str:
    """Remove the marks before the first letter."""
    return "".join(dropwhile(lambda character: not character.isalpha(), word))


def _composed(text: str) -> str:
    """Normalise to Unicode NFC."""
    if len(text) > _LONG:
        # Python sorts a run of marks in quadratic time.
        text = _LONG_RUN.sub(_in_order, text)
    return unicodedata.normalize("NFC", text)


def _in_order(run: re.Match[str]) -> str:
    """Sort marks canonically (The Unicode Standard, definition D109)."""
    marks = "".join(unicodedata.normalize("NFD", mark) for mark in run.group())
    return "".join(sorted(marks, key=unicodedata.combining))
