"""TF-IDF with logistic regression: it answers every text, and its files give the same answers."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.baseline import Baseline, Codes, fit
from training.baseline_files import FACTS, VOCABULARY, WEIGHTS, read_baseline, write_baseline
from training.classifier import load
from training.errors import InputError

NAMES = ("baik", "buruk", "ala")
ODD = ("", " ", "\x00", "\U0001f620\U0001f620", "\u202e=1+1", "a", "<script>", "\ud800", "İ ẞ ﬁ")
WORDS = np.array(["becik", "bodho", "ala"])


def _rows(num: int, seed: int = 0) -> tuple[list[str], Codes]:
    """Texts that give their label away, which is rarely the last."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, num, p=[0.8, 0.15, 0.05])
    return [f"kowe {WORDS[label]} tenan {rng.integers(9)}" for label in labels], labels


def _fit(texts: list[str], labels: Any) -> Baseline:
    return fit(texts, np.array(labels), names=NAMES, seed=0)


def test_a_word_that_gives_the_label_away_is_learnt_also_by_a_rare_class() -> None:
    texts, labels = _rows(200)
    found = _fit(texts[:150], labels[:150]).predict(texts[150:])
    assert found.dtype == np.int64
    assert found.tolist() == labels[150:].tolist()


def test_the_same_rows_give_the_same_answer() -> None:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(["siji", "loro", "telu", "papat"], 5)) for _ in range(80)]
    labels = rng.integers(0, 3, 80)
    first, second = (_fit(texts, labels).probabilities(texts) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.sum(axis=1) == pytest.approx(np.ones(80))


@pytest.mark.parametrize("odd", ODD)
def test_odd_texts_among_the_rows_are_answered(odd: str) -> None:
    texts = ["apik tenan", "apik banget", "elek tenan", "elek banget", odd]
    found = _fit(texts, [0, 0, 1, 1, 1]).predict([odd, "apik"])
    assert found.shape == (2,)
    assert found[1] == 0


@pytest.mark.parametrize("texts", [["", "", ""], ["\U0001f620", "\U0001f621", ""], ["a", "b", "c"]])
def test_training_texts_without_a_shared_n_gram_give_the_most_frequent_label(
    texts: list[str],
) -> None:
    fitted = _fit(texts, [2, 2, 1])
    assert fitted.predict(["apa wae", ""]).tolist() == [2, 2]
    assert fitted.probabilities([""]).tolist() == [[0, 1 / 3, 2 / 3]]


def test_a_single_training_label_is_the_answer_and_no_rows_give_none() -> None:
    assert _fit(["apik apik", "apik"], [1, 1]).predict(["elek"]).tolist() == [1]
    fitted = _fit(["apik apik", "apik"], [0, 1])
    assert fitted.predict([]).shape == (0,)
    assert fitted.probabilities([]).shape == (0, 3)


def _many(num: int) -> tuple[list[str], list[int]]:
    texts, labels = _rows(num)
    return [*texts, *ODD], [*labels.tolist(), *(number % 2 for number in range(len(ODD)))]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(_many(60), id="three classes"),
        pytest.param((_rows(60)[0], [n % 2 for n in range(60)]), id="two of three"),
        pytest.param((["apik"] * 4, [1, 1, 1, 1]), id="one class"),
        pytest.param((["", "\U0001f620"], [0, 2]), id="no n-gram"),
        pytest.param((["ab", "ab", "cd", "cd"], [2, 2, 0, 0]), id="few n-grams"),
        pytest.param((["a b", "a b", "b a", "b a"], [2, 2, 0, 0]), id="no word"),
    ],
)
def test_a_baseline_that_is_written_and_read_gives_the_same_probabilities(
    rows: tuple[list[str], list[int]], tmp_path: Path
) -> None:
    fitted = _fit(*rows)
    directory = tmp_path / "baseline"
    write_baseline(fitted, directory, card="# first")
    write_baseline(fitted, directory, card="# second")  # replaces it
    texts = [*rows[0], *ODD, "word never seen"]
    loaded = load(directory)
    assert np.array_equal(loaded.probabilities(texts), fitted.probabilities(texts))
    assert read_baseline(directory).predict(texts).tolist() == fitted.predict(texts).tolist()
    assert (list(loaded.names), loaded.text_column) == (list(NAMES), "text")
    assert (directory / "README.md").read_text("utf-8") == "# second"
    assert [path.name for path in tmp_path.iterdir()] == ["baseline"]
    with np.load(directory / WEIGHTS, allow_pickle=False) as arrays:  # as others read the file
        assert all(array.dtype == np.float64 for array in arrays.values())


def test_a_baseline_is_not_run_by_onnx_runtime(directory: Path) -> None:
    with pytest.raises(InputError, match=r"--backend is 'onnx', but .* leave --backend out"):
        load(directory, "onnx")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_baseline(_fit(*_many(30)), tmp_path / "baseline", card="")
    return tmp_path / "baseline"


Change = Callable[[Path], object]


def _facts(**changes: object) -> Change:
    def change(directory: Path) -> None:
        facts = json.loads((directory / FACTS).read_text())
        (directory / FACTS).write_text(json.dumps({**facts, **changes}))

    return change


def _text(name: str, content: str) -> Change:
    return lambda directory: (directory / name).write_text(content, "utf-8")


def _terms(change: Callable[[list[Any]], list[Any]]) -> Change:
    def edit(directory: Path) -> None:
        terms = json.loads((directory / VOCABULARY).read_text())
        (directory / VOCABULARY).write_text(json.dumps({**terms, "word": change(terms["word"])}))

    return edit


def _arrays(**changes: Any) -> Change:
    def change(directory: Path) -> None:
        with np.load(directory / WEIGHTS) as arrays:
            content = {**arrays, **{name: edit(arrays[name]) for name, edit in changes.items()}}
        np.savez(directory / WEIGHTS, **content)

    return change


def _rewritten(method: int, content: bytes | None = None) -> Change:
    """Write the archive again by a method, all members with other content if any is given."""

    def change(directory: Path) -> None:
        with zipfile.ZipFile(directory / WEIGHTS) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(directory / WEIGHTS, "w", method) as archive:
            for name, kept in members.items():
                archive.writestr(name, kept if content is None else content)

    return change


def _header(shape: tuple[int, ...]) -> bytes:
    """An array's header without its numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def _missing(name: str) -> Change:
    return lambda directory: (directory / name).unlink()


def _flipped(directory: Path) -> None:
    content = bytearray((directory / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / WEIGHTS).write_bytes(content)


DAMAGES: dict[str, tuple[Change, str]] = {
    "no vocabulary": (_missing(VOCABULARY), r"vocabulary.json: No such file"),
    "no weights": (_missing(WEIGHTS), r"weights.npz: No such file"),
    "cut JSON": (_text(FACTS, "{"), r"baseline.json: "),
    "a list": (_text(FACTS, "[]"), r"baseline.json: it: "),
    "nested": (_text(FACTS, "[" * 100_000), r"recursion"),
    "other format": (_facts(format=2), r"format"),
    "text as number": (_facts(seed="0"), r"seed"),
    "no labels": (_facts(labels=[]), r"labels"),
    "half a character": (_facts(labels=["\ud800", "b", "c"]), r"half a character"),
    "repeated label": (_facts(labels=["a", "a", "b"]), r"labels repeat"),
    "fewer labels": (_facts(labels=["a", "b"]), r"class_counts"),
    "no rows": (_facts(class_counts=[0, 0, 0]), r"class_counts"),
    "class out of range": (_facts(classes=[0, 1, 7]), r"classes are not codes"),
    "classes disordered": (_facts(classes=[1, 0, 2]), r"classes are not codes"),
    "one class": (_facts(classes=[1]), r"two classes"),
    "other n-grams": (_facts(ngrams=["line"]), r"ngrams"),
    "fewer n-grams": (_facts(ngrams=["word"]), r"other kinds"),
    "vocabulary is no mapping": (_text(VOCABULARY, "3"), r"other kinds"),
    "repeated n-gram": (_terms(lambda terms: [*terms[:-1], terms[0]]), r"repeats"),
    "number as n-gram": (_terms(lambda terms: [*terms[:-1], 3]), r"not a list of texts"),
    "more n-grams": (_terms(lambda terms: [*terms, "new"]), r"must be <f8"),
    "not finite": (_arrays(intercepts=lambda array: array * np.nan), r"not finite"),
    "other type": (_arrays(intercepts=lambda array: array.astype("<f4")), r"<f8"),
    "an object": (_arrays(intercepts=lambda array: array.astype(object)), r"<f8"),
    "Fortran order": (_arrays(coefficients=np.asfortranarray), r"<f8"),
    "no archive": (_text(WEIGHTS, "PK no"), r"zip"),
    "a flipped bit": (_flipped, r"weights.npz|CRC|header"),
    "compressed": (_rewritten(zipfile.ZIP_DEFLATED), r"is compressed"),
    "a size that is not there": (_rewritten(0, _header((2**50,))), r"must be <f8"),
    "no numbers": (_rewritten(0, _header((36,))), r"must be <f8|has 0 bytes"),
    "no array": (_rewritten(0, b"text"), r"magic"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_or_hostile_file_is_one_error_line(name: str, directory: Path) -> None:
    change, pattern = DAMAGES[name]
    change(directory)
    with pytest.raises(InputError, match=pattern) as caught:
        load(directory)
    (line,) = caught.value.problems
    assert line.startswith(f"baseline {directory}: it cannot be read (")
    assert line.endswith("restore its files")


def test_a_process_of_its_own_counts_the_answers_on_the_validation_rows() -> None:
    texts, labels = _rows(60)
    rows = {
        **{"train_texts": [*texts[:40], "\ud800"], "train_labels": [*labels[:40].tolist(), 0]},
        **{"validation_texts": texts[40:], "validation_labels": labels[40:].tolist()},
        **{"names": NAMES, "seed": 0},
    }
    ended = subprocess.run(
        [sys.executable, "-m", "training.baseline"],
        input=json.dumps(rows).encode(),
        capture_output=True,
        check=True,
    )
    found = json.loads(ended.stdout)
    predictions = _fit(rows["train_texts"], rows["train_labels"]).predict(texts[40:])
    expected = np.zeros((3, 3), dtype=int)
    np.add.at(expected, (labels[40:], predictions), 1)
    assert found["confusion_matrix"] == expected.tolist()
    assert found["seconds"] > 0
    assert ended.stderr == b""
