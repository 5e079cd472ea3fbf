import json
import shlex
import subprocess
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from evaluation.markdown import command, one_line, plain, table
from evaluation.model_card import model_card
from evaluation.winner import load_winner
from results.run import open_run
from training.config import SAMPLE, ModelConfig
from training.objective import objective

EVIL = "<img src=x>|a\n---\n[x](http://y) `*_\u202e\x00"


@pytest.fixture(scope="module")
def winner(finished_final):
    return load_winner(open_run(finished_final.directory))


@pytest.fixture
def report(finished_final):
    return json.loads((finished_final.reports / "evaluation_report.json").read_text("utf-8"))


def _metadata(card):
    """Return the metadata as the library of the Hub reads it; it raises for an invalid block."""
    return ModelCard(card).data.to_dict()


def _with(winner, section, **values):
    """Return the winner with another configuration."""
    changed = getattr(winner.configuration, section).model_copy(update=values)
    return replace(winner, configuration=winner.configuration.model_copy(update={section: changed}))


def test_the_card_beside_the_model_is_the_one_of_the_report(finished_final, winner, report):
    assert (finished_final.model / "README.md").read_text("utf-8") == model_card(winner, report)


def test_the_card_has_the_scores_their_intervals_and_the_counts(winner, report):
    card = model_card(winner, report)
    low, high = report["confidence_intervals"]["f1_macro"]
    against = report["baseline"]
    overall = f"| macro-F1 | {report['f1_macro']:.4f} | {low:.4f} to {high:.4f} |"
    assert f"{overall} {against['f1_macro']:.4f} |" in card
    for name, row in report["per_class"].items():
        assert f"| {name} | {row['precision']:.4f} | {row['recall']:.4f} |" in card
        assert f"| {against['per_class'][name]['f1']:.4f} | {row['support']} |" in card
    data = winner.record["data"]
    for text in (
        *(
            data["sha256"],
            winner.record["command"],
            "evaluations on the test set: 1\n",
        ),
        *(f"{data['rows']:,} rows, {data['kept']:,} kept", "agreement with the labeller"),
        f"{report['calibration']['expected_calibration_error']:.4f}",
        f"| torch | {winner.record['environment']['packages']['torch']} |",
    ):
        assert text in card, text
    for reason, count in data["dropped"].items():
        assert not count or f"{reason} {count:,}" in card


def test_the_three_scores_are_in_one_table_and_the_deviation_is_next_to_the_intervals(
    winner, report
):
    report["search"] |= {
        "search_score": 0.8111,
        "confirmed_score": 0.7222,
        "confirmed_deviation": 0.0123,
    }
    card = model_card(winner, report)
    assert "| score | macro-F1 | on |" in card
    assert "| search | 0.8111 |" in card
    assert "| confirmation | 0.7222 | mean over replicates that were also used" in card
    assert f"| test | {report['f1_macro']:.4f} |" in card
    low, high = report["confidence_intervals"]["f1_macro"]
    assert "vary by about +/- 2.46 points (two standard deviations, which include" in card
    assert f"is about +/- {50 * (high - low):.2f} points (half its width)" in card
    report["search"] |= {"confirmed_score": None, "confirmed_deviation": None}
    card = model_card(winner, report)
    assert "| confirmation | none |" in card
    assert "was not measured" in card


def test_a_search_score_of_a_shorter_training_is_called_not_comparable(winner, report):
    report["search"] |= {"search_score": 0.4321, "search_epochs": 1.5, "epochs": 3}
    card = model_card(winner, report)
    assert "| search, after 1.5 of 3 epochs | 0.4321 | the best of many trials" in card
    assert "The search score was taken after 1.5 of 3 epochs, so that it is not comparable" in card
    older = {key: value for key, value in report["search"].items() if "epochs" not in key}
    card = model_card(winner, report | {"search": older})
    assert "| search | 0.4321 |" in card
    assert "A score that was used for a selection tends to be too high." in card
    assert "so that it is not comparable" not in card


def test_the_seed_is_that_of_the_retrain_and_rejected_retrains_are_listed(winner, report):
    configured = winner.configuration.training.seed
    without = {key: value for key, value in report.items() if key != "retrain"}
    assert f"| training | {configured} |" in model_card(winner, without)
    report["retrain"] = {
        **{"seed": 77, "rejected_attempts": ["seed 76: one class <b>"]},
        **{"rows": 900, "seconds": 1.5},
    }
    card = model_card(winner, report)
    assert "| training | 77 |" in card
    assert "rejected before the evaluation on the test set: seed 76: one class &lt;" in card


def test_a_class_of_few_rows_is_marked_in_the_table(winner, report):
    few, *others = report["per_class"]
    report["method"]["few_rows"] = {few: 2}
    lines = model_card(winner, report).splitlines()
    marked = [line for line in lines if "(too few rows for a reliable interval)" in line]
    assert [line.split(" | ")[0] for line in marked] == [f"| {few}"]
    assert others


def test_the_metadata_have_the_scores_as_the_hub_reads_them(winner, report):
    data = ModelCard(model_card(winner, report)).data
    assert data.pipeline_tag == "text-classification"
    assert data.library_name == "transformers"
    assert data.metrics == ["f1", "accuracy", "matthews_correlation"]
    f1, accuracy, correlation = data.eval_results
    low, high = report["confidence_intervals"]["f1_macro"]
    assert (f1.metric_type, f1.metric_value) == ("f1", report["f1_macro"])
    assert f1.metric_name == f"Macro-F1 (95 % interval {low:.4f} to {high:.4f})"
    assert f1.metric_args == {"average": "macro"}
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", report["accuracy"])
    assert correlation.metric_value == report["matthews_correlation"]
    assert {result.task_type for result in data.eval_results} == {"text-classification"}
    assert {result.dataset_split for result in data.eval_results} == {"test"}


@pytest.mark.parametrize(
    ("metric", "kind", "settings", "name"),
    [
        ("f1_weighted", "f1", {"average": "weighted"}, "Weighted F1"),
        ("accuracy", "accuracy", None, "Accuracy"),
        ("balanced_accuracy", "balanced_accuracy", None, "Balanced accuracy"),
        ("mcc", "matthews_correlation", None, "Matthews correlation"),
        ("kappa_quadratic", "cohen_kappa", {"weights": "quadratic"}, "Quadratic kappa"),
        (f"f1:{EVIL}", "f1", {"label": one_line(EVIL)}, f"F1 of {one_line(EVIL)}"),
    ],
)
def test_the_metric_of_the_search_comes_first(winner, report, metric, kind, settings, name):
    decided_by = objective(metric, ["a", EVIL])
    report["objective"], report["score"] = decided_by.as_record(), 0.4321
    report["baseline"]["score"] = 0.1234
    report["confidence_intervals"]["score"] = [0.4, 0.5]
    card = model_card(winner, report)
    label = plain(decided_by.label)
    rows = [line.split(" | ") for line in card.splitlines()]
    first = next(index for index, row in enumerate(rows) if row[0] == "| metric") + 2
    assert rows[first] == [f"| {label}", "0.4321", "0.4000 to 0.5000", "0.1234 |"]
    table_rows = [row[0].removeprefix("| ") for row in rows[first : first + 7]]
    assert len(set(table_rows)) == len(table_rows)
    assert f"| score | {label} | on |" in card
    assert "| test | 0.4321 |" in card
    data = ModelCard(card).data
    score, *others = data.eval_results
    assert (score.metric_type, score.metric_value) == (kind, 0.4321)
    assert score.metric_args == settings
    assert score.metric_name == f"{name} (95 % interval 0.4000 to 0.5000)"
    usual = ["accuracy", "matthews_correlation"]
    assert [other.metric_type for other in others] == [one for one in usual if one != kind]
    assert data.metrics == [kind, *(other.metric_type for other in others)]


def test_language_and_task_are_named_only_for_the_labels_of_the_study(winner, report):
    card = model_card(winner, report)
    assert "\n# Severity of hate speech in Javanese text\n" in card
    assert _metadata(card)["language"] == ["jv", "id"]
    assert "The classes are ordered" in card

    labels = ("spam", "no spam")
    report["per_class"] = dict(zip(labels, report["per_class"].values(), strict=False))
    report["baseline"]["per_class"] = report["per_class"]
    counts = {split: dict.fromkeys(labels, 5) for split in ("train", "validation", "test")}
    record = winner.record | {"data": winner.record["data"] | {"class_counts": counts}}
    card = model_card(
        replace(_with(winner, "data", labels=labels, ordered=False), record=record), report
    )
    assert "\n# Text classifier of 2 classes\n" in card
    assert "avanese" not in card
    assert "The classes are ordered" not in card
    assert "language" not in _metadata(card)
    assert _metadata(card)["tags"] == ["severity-search"]


def test_only_a_model_of_the_hub_is_named_as_the_base(winner, report, tmp_path):
    def base(name):
        return _metadata(
            model_card(_with(winner, "model", **ModelConfig(name=name).model_dump()), report)
        ).get("base_model")

    assert "base_model" not in _metadata(model_card(winner, report))
    assert base(str(tmp_path)) is None
    assert base("~/models/gone") is None
    assert base("../models/gone") is None
    hub = "indobenchmark/indobert-base-p1"
    assert base(hub) == hub


def test_the_names_of_data_and_model_contain_no_private_directory(winner, report, tmp_path):
    model = tmp_path / "my-bert"
    model.mkdir()
    changed = _with(_with(winner, "model", name=str(model)), "data", path="/home/me/rows.csv")
    card = model_card(changed, report)
    assert "/home/me" not in card
    assert str(tmp_path) not in card
    assert "From rows.csv:" in card
    assert "\nmy-bert, fine-tuned" in card
    assert ModelCard(card).data.eval_results[0].dataset_name == "rows.csv"


def test_a_model_of_the_bundled_sample_is_called_a_demonstration(winner, report):
    assert "not for use" not in model_card(winner, report)
    card = model_card(_with(winner, "data", path=SAMPLE), report)
    assert "invented texts: it is a demonstration and not for use" in card


def test_rows_of_low_confidence_are_reported_separately(winner, report):
    report["low_confidence"] = {
        **{"rows": 1234, "accuracy": 0.5, "f1_macro_of_classes_present": 0.25},
        "classes_present": ["a", "b"],
    }
    card = model_card(winner, report)
    assert (
        "On 1,234 such rows, which are not in the test set, the model has accuracy 0.5000" in card
    )
    assert "macro-F1 0.2500 over the 2 classes that have rows there" in card
    report["low_confidence"] = None
    assert "such rows, which are not" not in model_card(winner, report)


def test_text_from_data_and_options_breaks_neither_the_block_nor_a_table_nor_the_page(
    winner, report
):
    row = next(iter(report["per_class"].values()))
    report["per_class"] = report["baseline"]["per_class"] = {EVIL: row, "b": row}
    report["summary"] = EVIL
    counts = {split: {EVIL: 1, "b": 2} for split in ("train", "validation", "test")}
    data = winner.record["data"] | {"class_counts": counts, "dropped": {EVIL: 3}}
    shell = shlex.join(["python", "-m", "tuning.search", "--data", EVIL, "```"])
    changed = _with(winner, "data", labels=(EVIL, "b"), path=EVIL, label_column=EVIL)
    changed = replace(changed, record=winner.record | {"data": data, "command": shell})
    card = model_card(changed, report)
    assert "<" not in card
    assert not {"\u202e", "\x00"} & set(card)
    block = card.split("\n---\n")[0].removeprefix("---\n")
    (index,) = yaml.safe_load(block)["model-index"]
    assert (
        index["results"][0]["dataset"]["name"]
        == _metadata(card)["model-index"][0]["results"][0]["dataset"]["name"]
    )
    assert card.split("\n---\n")[1].startswith("# Text classifier of 2 classes\n")
    escaped = r"&lt;img src=x&gt;\|a --- \[x\](http\://y) \`\*\_"
    assert f"| {escaped} | 0." in card
    header = next(line for line in card.splitlines() if line.startswith("| class | precision"))
    broken = next(line for line in card.splitlines() if line.startswith(f"| {escaped} | 0."))
    assert broken.replace(r"\|", "").count("|") == header.count("|")


def test_a_table_formats_numbers_and_escapes_texts():
    assert table(["a", "b|c"], [[1234, 0.5], ["x<y", ""]]).splitlines() == [
        r"| a | b\|c |",
        "| --- | --- |",
        "| 1,234 | 0.5000 |",
        "| x&lt;y |  |",
    ]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("see https://a.b/c and HTTP://a.b", r"see https\://a.b/c and HTTP\://a.b"),
        ("www.a.b WWW.a.b", r"www\.a.b WWW\.a.b"),
        ("me@a.b", r"me\@a.b"),
        ("# x", r"\# x"),
        ("- x", r"\- x"),
        ("+ x", r"\+ x"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("1. x", r"1\. x"),
        ("12) x", r"12\) x"),
        ("> x", "&gt; x"),
        ("  # x", r"\# x"),
        ("2.13.0", "2.13.0"),
        ("a - b: 1. c # d", "a - b: 1. c # d"),
    ],
)
def test_a_text_starts_no_link_heading_or_list(text, escaped):
    assert plain(text) == escaped


def test_a_directory_whose_name_is_markup_opens_no_heading(winner, report, tmp_path):
    (tmp_path / "# x").mkdir()
    card = model_card(_with(winner, "model", name=str(tmp_path / "# x")), report)
    assert "\n\\# x, fine-tuned" in card


@pytest.mark.parametrize(
    "argument", ["a<b", "<script>", "it's <b>", "```", "$HOME `id`", "plain", "a\nb"]
)
def test_a_command_in_a_block_has_no_markup_and_still_means_the_same(argument):
    fence, line, end = command(shlex.join(["printf", "%s", argument])).splitlines()
    assert "<" not in line
    assert end not in line
    assert fence == f"{end}bash"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == argument
