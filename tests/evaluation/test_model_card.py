import json
from dataclasses import replace

import pytest
import yaml

from evaluation.model_card import model_card
from evaluation.winner import load_winner
from results.run import open_run
from training.config import ModelConfig


@pytest.fixture(scope="module")
def winner(finished_final):
    return load_winner(open_run(finished_final.directory))


@pytest.fixture
def report(finished_final):
    return json.loads((finished_final.reports / "evaluation_report.json").read_text("utf-8"))


def _metadata(card):
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def _of_model(winner, name):
    model = ModelConfig(name=name)
    return replace(winner, configuration=winner.configuration.model_copy(update={"model": model}))


def test_the_card_beside_the_model_is_the_one_of_the_report(finished_final, winner, report):
    assert (finished_final.model / "README.md").read_text("utf-8") == model_card(winner, report)


def test_the_card_has_the_scores_their_intervals_and_the_counts(winner, report):
    card = model_card(winner, report)
    low, high = report["confidence_intervals"]["f1_macro"]
    assert f"| macro-F1 | {report['f1_macro']:.4f} | {low:.4f} to {high:.4f} |" in card
    for name, row in report["per_class"].items():
        assert f"| {name} | {row['precision']:.3f} | {row['recall']:.3f} |" in card
    assert winner.record["data"]["sha256"] in card
    assert winner.record["command"] in card
    assert "opened 1 time(s)" in card
    assert _metadata(card)["pipeline_tag"] == "text-classification"


def test_only_a_model_of_the_hub_is_named_as_the_base(winner, report, tmp_path):
    assert "base_model" not in _metadata(model_card(winner, report))
    assert "base_model" not in _metadata(model_card(_of_model(winner, str(tmp_path)), report))
    hub = "indobenchmark/indobert-base-p1"
    assert _metadata(model_card(_of_model(winner, hub), report))["base_model"] == hub


def test_a_class_name_breaks_neither_table_nor_page(winner, report):
    row = next(iter(report["per_class"].values()))
    report["per_class"] = {"<img src=x>|a\nb": row}
    card = model_card(winner, report)
    assert "| &lt;img src=x&gt;\\|a b |" in card
    assert "<img" not in card
