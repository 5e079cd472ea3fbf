"""Options that are lists of whole numbers."""

from training.errors import InputError


def whole_numbers(text: str, *, option: str) -> list[int]:
    """Numbers above 0 from a text such as `100,1000`.

    Raises:
        InputError: it is none.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise InputError(f"{option} is {text!r}, but must be numbers above 0, such as 100,1000")
    return [int(part) for part in parts]
