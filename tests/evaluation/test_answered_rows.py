import numpy as np
import pytest
import torch

from evaluation.answered_rows import ModelBrokenError, answer_rows, answered_columns
from evaluation.rows import InputRow


class Lengths:
    """Classifies by length; some texts break it, some for good."""

    names = ("short", "long")
    text_column = "text"

    def __init__(self):
        self.is_dead = False
        self.num_calls = 0

    def probabilities(self, texts):
        self.num_calls += 1
        self.is_dead = self.is_dead or "dies" in texts
        if self.is_dead:
            raise RuntimeError("device-side assert\ntriggered")
        if "memory" in texts:
            raise torch.OutOfMemoryError("out of memory")
        if "breaks" in texts:
            raise IndexError("index out of range")
        long = np.array([min(len(text), 10) / 10 for text in texts])
        return np.stack([1 - long, long], axis=1)


def _answers(texts, classifier=None):
    rows = [InputRow(cells={"text": text}) for text in texts]
    return list(answer_rows(classifier or Lengths(), rows, "text"))


def test_a_text_that_breaks_the_model_costs_only_its_own_answer():
    texts = [*["a"] * 500, "breaks", *["aaaaaaaaa"] * 523]
    classifier = Lengths()
    answers = _answers(texts, classifier)
    assert [row["text"] for row in answers] == texts
    assert [row["label"] for row in answers[:500]] == ["short"] * 500
    assert [row["label"] for row in answers[501:]] == ["long"] * 523
    assert answers[500]["label"] == answers[500]["p_short"] == ""
    assert answers[500]["error"] == (
        "the model cannot classify this text (IndexError: index out of range)"
    )
    assert classifier.num_calls < 30  # halves, not one by one


def test_a_model_that_died_ends_the_command_in_one_line_instead_of_a_million_errors():
    with pytest.raises(ModelBrokenError, match="device-side assert triggered") as caught:
        _answers(["a", "dies", "b"])
    assert "\n" not in str(caught.value)


def test_memory_that_runs_out_is_no_fault_of_a_text():
    with pytest.raises(torch.OutOfMemoryError):
        _answers(["a", "memory"])


def test_a_row_that_cannot_be_read_keeps_its_own_error():
    (answer,) = answer_rows(Lengths(), [InputRow(cells={"text": "a"}, error="torn")], "text")
    assert answer == {"text": "a", "label": "", "p_short": "", "p_long": "", "error": "torn"}


def test_columns_of_the_answers_are_the_rows_own_and_then_the_new_ones():
    assert answered_columns(["no", "yes"], [["id", "label"], ["text"]]) == [
        *("id", "input_label", "text", "label", "p_no", "p_yes", "error")
    ]
    assert answered_columns(["no"], []) == ["label", "p_no", "error"]
