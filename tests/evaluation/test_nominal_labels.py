"""Only of labels that are a scale anything is weighted or counted in steps, in every file."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.evaluation.conftest import Command, FinalRun, read_csv
from training.columns import sha256_of
from training.config import STUDY_LABELS

NAMES = dict(zip(STUDY_LABELS, ("sport", "politics", "economy", "culture"), strict=True))
OF_A_SCALE = re.compile(
    r"severit|severe|\bmild|too_mild|kappa|distan|one off|steps? (apart|between)|neighbouring"
    r"|classes are ordered",
    re.IGNORECASE,
)


def _rename(text: str) -> str:
    for old in sorted(NAMES, key=len, reverse=True):
        text = text.replace(old, NAMES[old])
    return text


@pytest.fixture
def nominal_run(finished_search: Path, data_file: Path, tmp_path: Path) -> Path:
    """The completed search, rewritten as if its labels had been four topics without an order."""
    run = Path(shutil.copytree(finished_search, tmp_path / "topics"))
    table = tmp_path / "topics.csv"
    table.write_text(_rename(data_file.read_text("utf-8")), "utf-8")
    for path in (run / "config.yaml", run / "best.yaml"):
        values = yaml.safe_load(_rename(path.read_text("utf-8")))
        values["data"] |= {"path": str(table), "ordered": False}
        path.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    record = json.loads(_rename((run / "search.json").read_text("utf-8")))
    record["data"] |= {"path": str(table), "sha256": sha256_of(table)}
    (run / "search.json").write_text(json.dumps(record), "utf-8")
    return run


def _texts_of(run: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of the report's sections and of every text file of `final/`."""
    page = (run / "report.html").read_text("utf-8")
    page = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    yield "report.html", page
    texts = (".json", ".txt", ".csv", ".md", ".yaml", ".log")
    for path in sorted((run / "final").rglob("*")):
        # A vocabulary holds words of the rows.
        if path.suffix in texts and path.name not in ("tokenizer.json", "vocabulary.json"):
            yield path.name, path.read_text("utf-8").replace("severity-search", "")


@pytest.mark.slow
def test_labels_without_an_order_have_no_word_of_a_scale_in_any_file(
    nominal_run: Path, run_final: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_final(["--run", str(nominal_run), "--gates", "none"]) == 0
    files = dict(_texts_of(nominal_run))
    assert {"error_analysis.json", "evaluation_report.json", "README.md"} <= files.keys()
    files["standard output"] = capsys.readouterr().out
    for name, text in files.items():
        found = OF_A_SCALE.search(text)
        assert not found, f"{name}: {text[max(found.start() - 80, 0) : found.end() + 80]}"
    header = (nominal_run / "final" / "reports" / "classification_report.txt").read_text("utf-8")
    assert "politics" in header
    assert "hate speech" not in files["README.md"]


def test_labels_with_an_order_are_counted_in_steps_by_their_own_words(
    finished_final: FinalRun,
) -> None:
    files = dict(_texts_of(finished_final.directory))
    analysis = json.loads(files["error_analysis.json"])
    first = analysis["by_distance"]["most_frequent"][0]
    wrong = [
        (row["label"], row["prediction"])
        for row in read_csv(finished_final.reports / "predictions.csv")
        if row["label"] != row["prediction"]
    ]
    counts = {pair: wrong.count(pair) for pair in wrong}
    assert first["errors"] == counts[first["label"], first["prediction"]] == max(counts.values())
    sentence = analysis["findings"][0]
    assert f"'{first['label']}' taken for '{first['prediction']}'" in sentence
    assert "severit" not in sentence
    assert "kappa_quadratic" in json.loads(files["evaluation_report.json"])
    assert "kappa, quadratic weights" in files["report.html"]
    assert "steps apart" in files["report.html"]
    assert "The classes are ordered" in files["README.md"]
    assert not re.search("severit|severe", files["report.html"], re.IGNORECASE)
