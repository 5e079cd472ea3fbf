import numpy as np
import pytest
import torch

from evaluation.answers import ModelBrokenError, answer
from training.cells import Unreadable


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
    return answer(classifier or Lengths(), texts, [""] * len(texts))


def test_a_text_that_breaks_the_model_costs_only_its_own_answer():
    texts = [*["a"] * 500, "breaks", *["aaaaaaaaa"] * 523]
    classifier = Lengths()
    answers = _answers(texts, classifier)
    assert answers.labels == [*["short"] * 500, "", *["long"] * 523]
    assert [row is None for row in answers.probabilities].count(True) == 1
    assert answers.errors[500] == (
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
    answers = answer(Lengths(), ["a", "b"], ["torn", ""])
    assert answers.labels == ["", "short"]
    assert answers.probabilities[0] is None
    assert answers.errors == ["torn", ""]


def test_cells_without_text_have_no_label():
    answers = _answers([None, "", " \n\u00a0", Unreadable("a JSON list"), "a"])
    assert answers.labels == ["", "", "", "", "short"]
    assert answers.errors == [*["no text"] * 3, "the text must be text, not a JSON list", ""]
