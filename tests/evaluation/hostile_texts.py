"""Hostile texts, which attack the programs that read them, as rows of a training table."""

import numpy as np

SCRIPT = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK(1)"


def hostile_texts(number: int) -> list[str]:
    """Return one text of each kind; another `number` gives other texts, never near-duplicates."""
    generator = np.random.default_rng(number)
    letters = np.array(list("abdeghiklmnoprstuwy"))

    def words(count: int) -> str:
        return " ".join("".join(generator.choice(letters, 6)) for _ in range(count))

    return [
        f"{SCRIPT} {words(8)}",
        f"{FORMULA} {words(8)}",
        words(100_000 // 7 + 1)[:100_000],
        chr(0x1F600 + number) * (number + 3),
        f"{words(4)}\0{words(4)}",
        f"\u202e{words(4)}\u202c\u200f{words(4)}",
        f'"{words(3)}",\r\n{words(3)}; \'{words(2)}',
    ]
