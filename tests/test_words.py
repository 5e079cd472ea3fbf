"""One vocabulary: words that the project once used otherwise than its field stay out of the tree.

Public APIs' words and ordinary English that remain are listed with their reasons.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# pattern: what to write instead. A word is whole: `draw` is in `draw_split`, not in `withdraw`.
WORDS: dict[str, str] = {
    r"draws?|drawn|drew|drawing": "replicate (a fresh seed and split), sample; of a chart: plot",
    r"openings?": "test access",
    r"(?:opens?|opened|opening) (?:the|its) test|tests? (?:rows )?(?:is|are|was|were) opened": (
        "evaluated on the test set"
    ),
    r"races?|raced|racing": "additional replicates",
    r"tells?|told|telling": "report, notify, log, distinguish",
    r"says?|said|saying": "report, state, print, explain",
    r"hears?|heard|hearing": "be notified",
    r"heeds?|heeded": "follow",
    r"looks?|looked|looking": "evaluate, check, read, search",
    r"shown": "reported, displayed, printed, recorded",
    r"rows at once|rows_at_once": "micro-batch size",
    r"passes of the model": "micro-batches",
    r"pieces?": "tokens",
    r"go(?:es)? on|went on|going on|gone on": "continue, be promoted, resume",
    r"survives?|survived": "be promoted",
    r"losses of (?:processes|workers|nodes)": "failures",
    r"rooms?": "capacity, space",
    r"places?": "path, location, position",
    r"began|begun": "started",
    r"(?:is|are|was|were|be) over": "finished",
    r"conductors?": "policy",
    r"proposers?": "searcher",
    r"course": "loop",
    r"steppers?": "optimizer step",
    r"residents?": "model cache",
    r"lent": "borrowed",
    r"holders?": "owner of a lock",
    r"tries": "retries, attempts",
    r"wordings?": "status text",
}
MODULES = {"captured", "levels", "phases", "board", "holder", "tries", "openings", "wording"}

# phrase: why it remains. It is passed over wherever it stands.
PHRASES: dict[str, str] = {
    "WordPiece": "the name of an algorithm, and its class in the library tokenizers",
    "SentencePiece": "the name of an algorithm and of a file format",
    "test_openings": "a key of evaluation_report.json, which scripts read",
    "padded_pieces": "a key of benchmarks/results.json",
    "pieces_per_second": "a key of benchmarks/results.json",
    '"pieces"': "a key of benchmarks/results.json",
    '"began"': "a key of benchmarks/results.json",
    '"looks"': "a key of the figures of benchmarks.scale and benchmarks.soak",
    "earlier_openings": "a key of evaluation_report.json",
    '"rows_at_once"': "a key of search.json, which scripts read",
    '"draws"': "a key of search.json and evaluation_report.json, which scripts read",
    "data.draw(": "a method of hypothesis",
    '"stepper"': "a key of the checkpoint file, which version 0.3 wrote too",
}
# path: {word as found, in lower case: why it remains there}.
REMAIN: dict[str, dict[str, str]] = {
    "benchmarks/smac_side.py": {"tell": "a method of SMAC3's"},
    "evaluation/streams.py": {"tell": "a method of Python's files"},
    "results/overview.py": {"goes on": "a line in logs of older versions"},
    "tests/results/test_overview.py": {"goes on": "a line in logs of older versions"},
    "tests/training/architectures.py": {"piece": "options of sentencepiece"},
}

_SKIPPED = (".csv", ".png", ".json", "constraints.txt", "LICENSE", "tests/test_words.py")


def _tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [path for path in listed if not path.endswith(_SKIPPED) and (ROOT / path).exists()]


def found_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, word and what to write instead, of each word of `WORDS` in a text."""
    for phrase in PHRASES:
        text = text.replace(phrase, "")
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    for pattern, instead in WORDS.items():
        for match in re.finditer(rf"(?<![a-z])(?:{pattern})(?![a-z])", text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, match[0].lower(), instead


def _section(path: str) -> str:
    top, *rest = path.split("/")
    return f"tests/{rest[0]}" if top == "tests" and len(rest) > 1 else top if rest else "."


SECTIONS = sorted({_section(path) for path in _tracked()})


@pytest.mark.parametrize("section", SECTIONS)
def test_words_that_the_field_does_not_use_are_not_in_the_tree(section: str) -> None:
    problems = [
        f"{path}:{line}: {word}; write: {instead}"
        for path in _tracked()
        if _section(path) == section
        for line, word, instead in found_words((ROOT / path).read_text("utf-8"))
        if word not in REMAIN.get(path, {})
    ]
    assert not problems, f"{len(problems)} words\n" + "\n".join(problems)


def test_every_word_that_remains_is_still_needed() -> None:
    stale = [
        f"{path}: {word}"
        for path, words in REMAIN.items()
        for word in words
        if word not in {found for _, found, _ in found_words((ROOT / path).read_text("utf-8"))}
    ]
    assert stale == []


def test_no_module_is_named_by_a_word_of_one_s_own() -> None:
    assert [path for path in _tracked() if Path(path).stem in MODULES] == []


@pytest.mark.parametrize(
    "text", ["def draw_split():", "class OpenedRoom:", "it goes on", "Told", "rows_at_once=3"]
)
def test_a_word_is_found_in_names_and_sentences(text: str) -> None:
    assert list(found_words(text))


@pytest.mark.parametrize("text", ["withdraw", "replace", "placed", "retries", "test_openings"])
def test_a_word_within_another_is_let_through(text: str) -> None:
    assert not list(found_words(text))
