"""Write a fitted baseline as JSON and arrays, and read it back; nothing is pickled.

The files hold what was learnt: vocabulary, inverse document frequencies, coefficients. How n-grams
are made is code (`training.baseline`), so that a file cannot choose it. scikit-learn's own objects
are rebuilt from both.
"""

import json
import os
import platform
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import scipy
import sklearn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.linear_model import LogisticRegression

from training.baseline import NAME, NGRAMS, Analyzer, Baseline, vectorizer
from training.errors import InputError

FACTS = "baseline.json"
"""The file by which a directory is recognised as that of a baseline."""
VOCABULARY = "vocabulary.json"
WEIGHTS = "weights.npz"

_DAMAGES = (ValueError, LookupError, ArithmeticError, EOFError, RuntimeError, zipfile.BadZipFile)
"""What the libraries raise for damaged files, besides OSError."""

Arrays = dict[str, npt.NDArray[np.float64]]
_Code = Annotated[int, Field(ge=0)]


class _Facts(BaseModel):
    """Content of `baseline.json`; `name` and `versions` are for people."""

    model_config = ConfigDict(strict=True, extra="ignore")

    format: Literal[1]
    """Version of these files and of the rules by which n-grams are made."""
    text_column: str
    labels: Annotated[list[str], Field(min_length=1)]
    class_counts: list[_Code]
    seed: int
    classes: list[_Code]
    """Codes that the model gives, rising; empty: there is no model."""
    ngrams: list[Analyzer]
    """Kinds of n-grams, in the order of their features."""


def is_baseline(directory: Path) -> bool:
    """Return whether a directory holds a baseline instead of an encoder."""
    return (directory / FACTS).is_file()


def write_baseline(baseline: Baseline, directory: Path, *, card: str) -> None:
    """Write a baseline; a directory of that name is replaced once the new one is complete.

    Args:
        baseline: fitted.
        directory: `final/baseline`.
        card: Markdown for people, its `README.md`.

    Raises:
        OSError: the directory cannot be written.
    """
    aside = directory.with_name(f".{directory.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    vocabulary = {
        one.analyzer: one.get_feature_names_out().tolist() for one in baseline.vectorizers
    }
    # Escaped, since a text may hold half of a surrogate pair.
    (aside / VOCABULARY).write_text(json.dumps(vocabulary), encoding="ascii")
    np.savez(aside / WEIGHTS, allow_pickle=False, **_arrays(baseline))
    (aside / "README.md").write_text(card, encoding="utf-8")
    (aside / FACTS).write_text(json.dumps(_facts(baseline), indent=2) + "\n", encoding="ascii")
    for file in aside.iterdir():
        with file.open("rb") as content:
            os.fsync(content.fileno())
    shutil.rmtree(directory, ignore_errors=True)
    aside.rename(directory)


def read_baseline(directory: Path) -> Baseline:
    """Read a baseline; it gives the same probabilities as the one that was written.

    Raises:
        InputError: a file is missing or damaged, in one line.
    """
    try:
        facts = _Facts.model_validate(_read_json(directory / FACTS))
        vocabulary = _read_json(directory / VOCABULARY)
        _check(facts, vocabulary)
        arrays = _read_arrays(directory / WEIGHTS, _shapes(facts, vocabulary))
        return _rebuild(facts, vocabulary, arrays)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "it"
        raise _damaged(directory, f"{FACTS}: {field}: {problem['msg']}") from error
    except OSError as error:
        name = Path(str(error.filename or FACTS)).name
        raise _damaged(directory, f"{name}: {error.strerror or error}") from error
    except _DAMAGES as error:
        raise _damaged(directory, str(error) or type(error).__name__) from error


def _facts(baseline: Baseline) -> dict[str, Any]:
    return {
        "format": 1,
        "name": NAME,
        "text_column": baseline.text_column,
        "labels": list(baseline.names),
        "class_counts": baseline.class_counts.tolist(),
        "seed": baseline.seed,
        "classes": baseline.model.classes_.tolist() if baseline.model else [],
        "ngrams": [one.analyzer for one in baseline.vectorizers],
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _arrays(baseline: Baseline) -> Arrays:
    """Return `idf_<kind>` [n-grams], `coefficients` [rows, all n-grams] and `intercepts` [rows].

    Two classes have one row of coefficients, more have one each.
    """
    arrays = {f"idf_{one.analyzer}": one.idf_ for one in baseline.vectorizers}
    if baseline.model is not None:
        arrays["coefficients"] = np.ascontiguousarray(baseline.model.coef_)
        arrays["intercepts"] = baseline.model.intercept_
    return arrays


def _shapes(facts: _Facts, vocabulary: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """Return the shape that each array must have."""
    shapes: dict[str, tuple[int, ...]] = {
        f"idf_{kind}": (len(vocabulary[kind]),) for kind in facts.ngrams
    }
    if facts.classes:
        rows = len(facts.classes) if len(facts.classes) > 2 else 1
        shapes["coefficients"] = (rows, sum(len(vocabulary[kind]) for kind in facts.ngrams))
        shapes["intercepts"] = (rows,)
    return shapes


def _rebuild(facts: _Facts, vocabulary: Mapping[str, Sequence[str]], arrays: Arrays) -> Baseline:
    vectorizers = []
    for kind in facts.ngrams:
        one = vectorizer(kind, vocabulary=vocabulary[kind])
        one.idf_ = arrays[f"idf_{kind}"]
        vectorizers.append(one)
    model = None
    if facts.classes:
        model = LogisticRegression()
        model.classes_ = np.array(facts.classes, dtype=np.int64)
        model.coef_, model.intercept_ = arrays["coefficients"], arrays["intercepts"]
    return Baseline(
        names=tuple(facts.labels),
        text_column=facts.text_column,
        seed=facts.seed,
        class_counts=np.array(facts.class_counts, dtype=np.int64),
        vectorizers=vectorizers,
        model=model,
    )


def _check(facts: _Facts, vocabulary: Any) -> None:
    """Check what the types leave open.

    Raises:
        ValueError: the files do not fit each other.
    """
    names = (*facts.labels, facts.text_column)
    rules = {
        "a name holds half a character": (
            all(name == name.encode("utf-8", "ignore").decode("utf-8") for name in names)
        ),
        "labels repeat": len(set(facts.labels)) == len(facts.labels),
        "class_counts are not those of the labels": (
            len(facts.class_counts) == len(facts.labels) and 0 < sum(facts.class_counts) < 2**62
        ),
        "classes are not codes of labels": (
            facts.classes == sorted(set(facts.classes))
            and max(facts.classes, default=0) < len(facts.labels)
        ),
        "a model needs two classes and n-grams": (
            len(facts.classes) > 1 if facts.ngrams else not facts.classes
        ),
        "ngrams repeat": len(set(facts.ngrams)) == len(facts.ngrams) <= len(NGRAMS),
        f"{VOCABULARY} has other kinds of n-grams": (
            isinstance(vocabulary, dict) and set(vocabulary) == set(facts.ngrams)
        ),
    }
    for problem, holds in rules.items():
        if not holds:
            raise ValueError(problem)
    for kind, terms in vocabulary.items():
        if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
            raise ValueError(f"{VOCABULARY}: {kind} is not a list of texts")
        if not terms or len(set(terms)) < len(terms):
            raise ValueError(f"{VOCABULARY}: {kind} is empty or repeats an n-gram")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Read the arrays that have the given shapes; others are not read.

    Raises:
        ValueError: an array is missing, has another shape or type, or is not finite.
    """
    with zipfile.ZipFile(path) as archive:
        return dict(_each_array(archive, shapes))


def _each_array(
    archive: zipfile.ZipFile, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    for name, shape in shapes.items():
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:  # a few bytes could become gigabytes
            raise ValueError(f"{WEIGHTS}: {name} is compressed")
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"{WEIGHTS}: {name} has version {version} of its format")
            found, is_fortran, kind = np.lib.format.read_array_header_1_0(file)
            if (found, is_fortran, kind) != (shape, False, np.dtype("<f8")):
                raise ValueError(f"{WEIGHTS}: {name} is {kind} {found}, but must be <f8 {shape}")
            content = file.read(8 * int(np.prod(shape)) + 1)
        if len(content) != 8 * int(np.prod(shape)):
            raise ValueError(f"{WEIGHTS}: {name} has {len(content):,} bytes of numbers")
        array = np.frombuffer(content, dtype="<f8").astype(np.float64).reshape(shape)
        if not np.isfinite(array).all():
            raise ValueError(f"{WEIGHTS}: {name} has numbers that are not finite")
        yield name, array


def _damaged(directory: Path, reason: str) -> InputError:
    return InputError(
        f"baseline {directory}: it cannot be read ({' '.join(reason.split())[:200]}), but must be"
        " as evaluation.final wrote it; restore its files"
    )
