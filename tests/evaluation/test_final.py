"""`python -m evaluation.final` on a real search, from the command to the last file."""

import hashlib
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)
from transformers import pipeline

from tests.evaluation.conftest import SEARCH, read_csv, run_module
from tests.evaluation.hostile_texts import FORMULA, SCRIPT
from training.classifier import load
from training.config import WinningConfiguration
from training.folding import fold
from training.objective import objective
from training.options import read_yaml, validate
from training.trained_on import are_among, hashes_of, read_trained_on

EXACT = {"abs": 1e-9, "rel": 0}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def report(finished_final):
    return json.loads((finished_final.reports / "evaluation_report.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def predictions(finished_final):
    return pd.read_csv(finished_final.reports / "predictions.csv")


@pytest.fixture(scope="module")
def labels(finished_final):
    best = yaml.safe_load((finished_final.directory / "best.yaml").read_text("utf-8"))
    return best["data"]["labels"]


def test_all_files_are_there(finished_final):
    final = finished_final.directory / "final"
    expected = {
        "model": {
            *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
            *("training_config.yaml", "README.md", "pytorch_model.bin", "model.onnx"),
            *("trained_on.bin", ".gitignore"),
        },
        "baseline": {"baseline.json", "vocabulary.json", "weights.npz", "README.md"},
        "reports": {
            *("training_metrics.json", "evaluation_report.json", "classification_report.txt"),
            *("confusion_matrix.png", "training_curves.png", "predictions.csv"),
            *("misclassified.csv", "error_analysis.json", "low_confidence.csv"),
            *("reliability.png", "class_f1.png"),
        },
        "logs": {"training.log", "tensorboard_logs"},
    }
    for folder, names in expected.items():
        assert {path.name for path in (final / folder).iterdir()} == names
    for path in final.rglob("*.png"):
        assert path.read_bytes().startswith(PNG)
    assert list((final / "logs" / "tensorboard_logs").glob("events.out.tfevents*"))


def test_the_shipped_baseline_gives_the_predictions_that_the_model_was_compared_with(
    finished_final, predictions, data_file
):
    texts = pd.read_csv(data_file, dtype=str, keep_default_na=False)["text"]
    shipped = load(finished_final.baseline)
    found = shipped.probabilities(texts[predictions["row"]].tolist()).argmax(axis=1)
    assert [shipped.names[code] for code in found] == predictions["baseline_prediction"].tolist()
    assert predictions["baseline_prediction"].nunique() > 1


def test_the_card_of_the_baseline_has_its_test_scores(finished_final, report):
    card = (finished_final.baseline / "README.md").read_text("utf-8")
    against = report["baseline"]
    low, high = against["confidence_intervals"]["score"]
    assert (
        f"| macro-F1 | {against['score']:.4f} | {low:.4f} to {high:.4f} | {report['score']:.4f} |"
    ) in card
    assert card.count("| macro-F1 |") == 1
    assert f"on the {report['retrain']['rows']:,} rows" in card


def test_the_model_lists_exactly_the_texts_that_it_was_trained_on(finished_final, data_file):
    texts = pd.read_csv(data_file, dtype=str, keep_default_na=False)["text"].tolist()
    of_split = {"train": [], "validation": [], "test": []}
    for line in read_csv(finished_final.directory / "splits.csv"):
        of_split.get(line["split"], []).append(texts[int(line["row"])])
    hashes = read_trained_on(finished_final.model)
    learnt = of_split["train"] + of_split["validation"]
    assert hashes.tolist() == hashes_of(learnt).tolist()
    assert not are_among(of_split["test"], hashes).any()
    assert "not for publishing" in (finished_final.model / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_a_search_that_starts_from_a_model_that_has_seen_its_rows_is_refused(
    finished_final, data_file, tmp_path
):
    ended = run_module(
        "tuning.search",
        *(*SEARCH, "--data", str(data_file), "--model", str(finished_final.model), "--dry-run"),
        *("--data.split_seed", "7", "--output.directory", str(tmp_path)),
    )
    assert ended.code == 2
    (line,) = ended.stderr.splitlines()
    assert re.search(r"was trained on \d+ of \d+ validation rows and \d+ of \d+ test rows", line)
    assert "data.split_column" in line


@pytest.mark.slow
@pytest.mark.long
def test_a_model_trained_further_names_the_texts_of_the_one_it_started_from(
    finished_final, data_file, tmp_path
):
    known = read_trained_on(finished_final.model)
    table = pd.read_csv(data_file, dtype=str, keep_default_na=False)
    fresh = table.copy()
    fresh["text"] = [f"anyar {row} {text}" for row, text in enumerate(table["text"])]
    fresh["part"] = [("train", "validation", "test")[row % 3] for row in fresh.index]
    old = table[are_among(table["text"], known)].assign(part="train")
    pd.concat([fresh, old]).to_csv(tmp_path / "more.csv", index=False)
    options = (
        *("--data", str(tmp_path / "more.csv"), "--data.split_column", "part"),
        *("--data.near_duplicate_threshold", "null", "--model", str(finished_final.model)),
        *("--output.directory", str(tmp_path), "--name", "more", "--trials", "1"),
    )
    ended = run_module("tuning.search", *SEARCH, *options)
    assert ended.code == 0, ended.stdout + ended.stderr
    ended = run_module("evaluation.final", "--run", str(tmp_path / "more"), "--gates", "none")
    assert ended.code == 0, ended.stdout + ended.stderr
    found = read_trained_on(tmp_path / "more" / "final" / "model")
    assert set(known.tolist()) < set(found.tolist())
    assert not are_among(fresh["text"][fresh["part"] == "test"], found).any()


def test_it_prints_the_result_and_the_next_step_and_nothing_else(finished_final, report):
    lines = finished_final.ended.stdout.splitlines()
    start = lines.index(f"\u2717 {report['verdict']['sentence']}")
    model, baseline, note, heading, first = lines[start + 1 : start + 6]
    assert model.split()[:4] == ["this", "model", "macro-F1", f"{report['f1_macro']:.3f}"]
    assert baseline.split()[:3] == ["TF-IDF", "macro-F1", f"{report['baseline']['f1_macro']:.3f}"]
    assert (note.strip(), heading) == ("(in brackets: 95 % intervals)", "Next:")
    assert first.startswith(
        "  1. Classify texts with TF-IDF: python -m evaluation.predict --model "
    )
    assert lines[-2].startswith("Gates: all ")
    assert lines[-1] == f"Report: {finished_final.directory / 'report.html'}"
    assert report["verdict"]["kind"] == "use_baseline"
    assert report["verdict"]["next_steps"][0]["command"] in first
    assert finished_final.ended.stderr == ""


@pytest.mark.parametrize(
    ("column", "key"), [("prediction", None), ("baseline_prediction", "baseline")]
)
def test_every_score_can_be_computed_again_from_the_predictions(
    predictions, report, labels, column, key
):
    scores = report[key] if key else report
    true, predicted = predictions["label"], predictions[column]
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, predicted), **EXACT)
    macro = f1_score(true, predicted, labels=labels, average="macro", zero_division=0)
    assert scores["f1_macro"] == pytest.approx(macro, **EXACT)
    assert scores["confusion_matrix"] == confusion_matrix(true, predicted, labels=labels).tolist()
    of_classes = precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    assert list(scores["per_class"]) == labels
    for label, *values in zip(labels, *of_classes, strict=True):
        row = scores["per_class"][label]
        assert list(row) == ["precision", "recall", "f1", "support"]
        assert list(row.values()) == pytest.approx(values, **EXACT)
    if key is None:
        difference = scores["f1_macro"] - report["baseline"]["f1_macro"]
        assert report["baseline"]["difference"]["f1_macro"] == pytest.approx(difference, **EXACT)


def test_the_report_has_every_key_that_scripts_read(report, labels):
    assert {
        *("accuracy", "f1_macro", "per_class", "confusion_matrix", "confidence_intervals"),
        *("baseline", "gates", "test_openings", "method", "search", "stages", "calibration"),
        *("low_confidence", "objective", "score"),
    } <= report.keys()
    for metric in ("score", "accuracy", "f1_macro"):
        low, high = report["confidence_intervals"][metric]
        assert low <= report[metric] <= high
    assert report["objective"] == objective("f1_macro", labels).as_record()
    assert report["score"] == report["f1_macro"]
    assert report["search"]["search_score"] == report["search"]["search_f1_macro"]
    assert {"name", "difference", "p_value"} <= report["baseline"].keys()
    assert report["gates"] == {}
    assert {"resamples", "bins", "seed"} <= report["method"].keys()
    (access,) = report["test_openings"]
    assert list(access) == ["at", "reason", "has_scores"]
    assert set(report["per_class"]) == set(labels)


def test_every_stage_gate_is_met_and_has_its_rule(report):
    assert list(report["stages"]) == ["data", "training", "evaluation", "readiness"]
    for stage, checks in report["stages"].items():
        assert checks or stage == "evaluation", stage  # it needs a confirmation
        for name, found in checks.items():
            assert found["met"], (stage, name, found)
            assert found["rule"]


def test_the_probabilities_sum_to_one_and_the_highest_is_the_prediction(predictions, labels):
    chances = predictions[[f"p_{label}" for label in labels]].to_numpy()
    assert list(predictions)[:5] == ["row", "label", "prediction", "baseline_prediction", "group"]
    assert chances.sum(axis=1) == pytest.approx(np.ones(len(chances)), **EXACT)
    assert [labels[code] for code in chances.argmax(axis=1)] == predictions["prediction"].tolist()


def test_the_rows_are_the_test_rows_of_the_split_with_the_labels_of_the_file(
    predictions, finished_final, data_file
):
    splits = pd.read_csv(finished_final.directory / "splits.csv")
    assert sorted(predictions["row"]) == splits["row"][splits["split"] == "test"].tolist()
    table = pd.read_csv(data_file)
    assert predictions["label"].tolist() == table["final_label"][predictions["row"]].tolist()


def test_no_folded_text_and_no_group_is_in_two_splits(predictions, finished_final, data_file):
    splits = pd.read_csv(finished_final.directory / "splits.csv")
    texts = pd.read_csv(data_file)["text"].fillna("")
    kept = splits[splits["split"] != "dropped"]
    folded = {}
    for row, split in zip(kept["row"], kept["split"], strict=True):
        folded.setdefault(fold(texts[row]), set()).add(split)
    folded.pop("", None)
    assert {frozenset(found) for found in folded.values()} == {
        frozenset({split}) for split in ("train", "validation", "test")
    }
    assert predictions["group"].nunique() <= len(predictions)


def test_the_training_metrics_describe_the_whole_retrain(finished_final):
    metrics = json.loads((finished_final.reports / "training_metrics.json").read_text("utf-8"))
    assert {"history", "seconds", "parameters", "rows"} <= metrics.keys()
    record = json.loads((finished_final.directory / "search.json").read_text("utf-8"))
    counts = record["data"]["class_counts"]
    train = sum(counts["train"].values()) + sum(counts["validation"].values())
    assert metrics["rows"] == train
    epochs = [point["epoch"] for point in metrics["history"]]
    assert epochs == sorted(epochs)
    assert epochs[-1] == metrics["parameters"]["epochs"]
    assert all({"epoch", "loss", "learning_rate"} <= point.keys() for point in metrics["history"])
    assert metrics["history"][-1]["loss"] < metrics["history"][0]["loss"]
    assert metrics["rejected_attempts"] == []
    assert len(metrics["search_history"]) > 1


def test_the_model_loads_as_a_pipeline_and_gives_the_same_predictions(
    finished_final, predictions, labels, data_file
):
    classify = pipeline(
        "text-classification", model=str(finished_final.model), top_k=None, truncation=True
    )
    texts = pd.read_csv(data_file)["text"]
    first = predictions.head(20)
    for number, (row, label) in enumerate(zip(first["row"], first["prediction"], strict=True)):
        (answers,) = classify([texts[row]])
        assert {answer["label"] for answer in answers} == set(labels)
        assert answers[0]["label"] == label
        assert answers[0]["score"] == pytest.approx(first[f"p_{label}"][number], abs=1e-5)


def test_the_training_configuration_is_valid_and_the_one_of_the_retrain(finished_final):
    path = finished_final.model / "training_config.yaml"
    configuration = validate(WinningConfiguration, read_yaml(path), where="the file")
    metrics = json.loads((finished_final.reports / "training_metrics.json").read_text("utf-8"))
    assert configuration.training.model_dump(mode="json") == metrics["parameters"]


def test_the_log_has_times_and_each_evaluation(finished_final):
    lines = (finished_final.directory / "final" / "logs" / "training.log").read_text("utf-8")
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO evaluation\.")
    assert all(stamp.match(line) for line in lines.splitlines())
    assert len(re.findall(r"epoch \d\.\d\d: training loss", lines)) == 12


def test_the_report_page_has_the_test_score_and_loads_nothing(finished_final, report):
    page = (finished_final.directory / "report.html").read_text("utf-8")
    page, _, _ = page.partition("</main>")  # what follows is the chart library
    assert f"{report['f1_macro']:.3f}" in page
    assert report["test_openings"][0]["at"] in page
    assert "Hardest mistakes" in page
    assert "Confusion matrix" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)


@pytest.mark.slow
def test_unmet_gates_then_a_refused_second_evaluation_then_one_with_a_reason(
    run_directory, finished_final, run_final, capsys
):
    sibling = run_directory.with_name("evaluated-before")
    shutil.copytree(finished_final.directory, sibling)
    assert run_final(["--run", run_directory]) == 3
    out = capsys.readouterr().out
    assert (
        "Caution: other runs were evaluated on these test rows before (evaluated-before), and a"
        in out
    )
    assert " gates and checks not met: accuracy; f1_macro; " in out
    assert "split_seed" not in out
    final = run_directory / "final"
    other = finished_final.directory / "final"
    names = {path.name for path in (other / "reports").iterdir()}
    assert {path.name for path in (final / "reports").iterdir()} == names
    gates = json.loads((final / "reports" / "evaluation_report.json").read_text())["gates"]
    assert gates["accuracy"].keys() == {"threshold", "value", "met"}
    assert not gates["accuracy"]["met"]
    # Another process, another directory, the same digits.
    for name in ("predictions.csv", "misclassified.csv", "error_analysis.json"):
        assert _hash(final / "reports" / name) == _hash(other / "reports" / name)
    weights = "model/model.safetensors"
    assert _hash(final / weights) == _hash(other / weights)
    assert not (final / "model" / "pytorch_model.bin").exists()

    assert run_final(["--run", run_directory, "--gates", "none"]) == 2  # no second evaluation
    (line,) = capsys.readouterr().err.splitlines()
    assert "may be done once" in line
    assert not (run_directory / "final-2").exists()
    before = _hash(final / "reports" / "evaluation_report.json")

    reason = ["--reopen-test", "labels of 3 rows <corrected>"]
    assert run_final(["--run", run_directory, "--gates", "none", *reason]) == 0
    accesses = json.loads((run_directory / "test_openings.json").read_text("utf-8"))
    assert [access["directory"] for access in accesses] == ["final", "final-2"]
    again = run_directory / "final-2" / "reports"
    report = json.loads((again / "evaluation_report.json").read_text("utf-8"))
    assert [access["reason"] for access in report["test_openings"]] == [
        "first evaluation",
        reason[1],
    ]
    assert _hash(final / "reports" / "evaluation_report.json") == before
    assert _hash(again / "predictions.csv") == _hash(final / "reports" / "predictions.csv")
    assert "labels of 3 rows &lt;corrected&gt;" in (run_directory / "report.html").read_text(
        "utf-8"
    )


def test_what_is_wrong_with_a_run_is_one_line_and_exit_code_2(
    run_final, one_error, tmp_path, run_directory
):
    assert run_final(["--run", tmp_path / "nowhere"]) == 2
    assert "no such directory" in one_error()
    assert run_final(["--run", tmp_path]) == 2
    assert "no search.json" in one_error()
    (run_directory / "splits.csv").write_text("row,split,reason\n", encoding="utf-8")
    assert run_final(["--run", run_directory]) == 2
    assert "restore" in one_error()
    assert not (run_directory / "final").exists()
    assert not (run_directory / "test_openings.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gate", "none"], "did you mean --gates"),
        (["--gates", "some"], "must be one of minimum, optimal, none"),
        (["--weights", "h5"], "must be one of safetensors, bin"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    run_final, one_error, tmp_path, arguments, words
):
    assert run_final(["--run", tmp_path, *arguments]) == 2
    assert words in one_error()


def test_the_help_explains_every_option(run_final, capsys):
    assert run_final(["-h"]) == 0
    printed = capsys.readouterr().out
    for option in ("--run", "--gates", "--weights", "--reopen-test"):
        assert re.search(rf"{option} .*\n? +[a-z]", printed), option


def test_hostile_texts_are_evaluated_like_any_other_and_harmless_in_every_file(
    finished_final, predictions, data_file
):
    texts = pd.read_csv(data_file)["text"]
    tested = texts[predictions["row"]].fillna("")
    for sign in (
        re.escape(SCRIPT),
        re.escape(FORMULA),
        "\0",
        "\u202e",
        "^[\U0001f600-\U0001f64f]+$",
    ):
        assert any(re.search(sign, text) for text in tested), sign
    assert tested.str.len().max() == 100_000
    for path in finished_final.directory.rglob("*"):
        if path.suffix in (".html", ".md", ".json", ".yaml", ".txt", ".log", ".csv"):
            content = path.read_text("utf-8")
            assert path.name == "misclassified.csv" or SCRIPT not in content, path
            assert "\0" not in content, path
    for row in read_csv(finished_final.reports / "misclassified.csv"):
        assert row["text"][:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")
        assert len(row["text"]) <= 32_100


def test_the_listed_errors_are_the_wrong_predictions(finished_final, predictions):
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    listed = read_csv(finished_final.reports / "misclassified.csv")
    assert sorted(int(row["row"]) for row in listed) == sorted(wrong["row"])


def _hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
