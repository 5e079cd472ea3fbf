import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from training.classifier import load
from training.errors import InputError

BACKENDS = ("torch", "onnx")
PARTS = ("training_config.yaml", "config.json", "model.safetensors", "tokenizer.json")


def test_a_loaded_model_gives_the_probabilities_of_the_final_evaluation(finished_final, data_file):
    classifier = load(finished_final.model)
    predictions = pd.read_csv(finished_final.reports / "predictions.csv")
    texts = pd.read_csv(data_file)["text"][predictions["row"]].tolist()
    chances = predictions[[f"p_{name}" for name in classifier.names]].to_numpy()
    np.testing.assert_allclose(classifier.probabilities(texts), chances, atol=1e-5)
    assert classifier.text_column == "text"


@pytest.mark.parametrize("backend", BACKENDS)
def test_texts_keep_their_order_whatever_their_lengths(finished_final, backend):
    classifier = load(finished_final.model, backend)
    texts = ["kowe bodho", "x", "aku seneng guyon " * 90, "", "\U0001f621"] * 20
    together = classifier.probabilities(texts)
    alone = np.concatenate([classifier.probabilities([text]) for text in texts[:5]])
    np.testing.assert_allclose(together[:5], alone, atol=1e-5)
    np.testing.assert_allclose(together[5:10], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("backend", "part"), [*(("torch", part) for part in PARTS), ("onnx", "model.onnx")]
)
def test_a_directory_without_a_part_is_refused_by_its_name(model_directory, backend, part):
    (model_directory / part).unlink()
    with pytest.raises(InputError, match=f"has no {part}") as caught:
        load(model_directory, backend)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("backend", "part"), [*(("torch", part) for part in PARTS), ("onnx", "model.onnx")]
)
@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff\x00", b"[1]", b"null", b"data: 5"])
def test_a_part_that_is_torn_or_something_else_is_refused_in_one_line(
    model_directory, backend, part, content
):
    (model_directory / part).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(model_directory, backend)
    assert all("\n" not in problem for problem in caught.value.problems)


def test_onnx_needs_no_weights_of_pytorch(model_directory, data_file):
    texts = [*pd.read_csv(data_file)["text"].dropna(), "x", "kowe " * 20_000, "\x00", "\ud83d"]
    expected = load(model_directory).probabilities(texts)
    (model_directory / "model.safetensors").unlink()
    classifier = load(model_directory, "onnx")
    found = classifier.probabilities(texts)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert len(classifier.names) == found.shape[1]


def test_an_onnx_file_cut_short_is_refused(model_directory):
    path = model_directory / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="no model can be loaded"):
        load(model_directory, "onnx")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_classifies_nothing_is_refused_before_any_row(model_directory, backend):
    path = model_directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [10**6]  # beyond the embedding
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(InputError, match="cannot classify a text"):
        load(model_directory, backend)


def test_weights_cut_short_are_refused(model_directory):
    path = model_directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="no model can be loaded"):
        load(model_directory)


def test_weights_without_the_head_are_refused_and_not_initialised_at_random(model_directory):
    path = model_directory / "model.safetensors"
    weights = {name: t for name, t in load_file(path).items() if "classifier" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks classifier\.bias"):
        load(model_directory)


def test_a_value_of_the_wrong_type_in_the_configuration_is_refused(model_directory):
    path = model_directory / "training_config.yaml"
    text = path.read_text("utf-8").replace("max_length: 128", "max_length: long")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"model\.max_length is 'long'"):
        load(model_directory)


def test_a_path_that_is_no_directory_is_refused(tmp_path, model_directory):
    for path in (tmp_path / "nowhere", model_directory / "config.json"):
        with pytest.raises(InputError, match="no such directory"):
            load(path)


class _Touch:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("pretend", ["no other weights", "an index that names it"])
def test_pickled_weights_are_refused_and_nothing_in_them_is_run(model_directory, tmp_path, pretend):
    made = tmp_path / "made-by-the-pickle"
    (model_directory / "pytorch_model.bin").write_bytes(pickle.dumps(_Touch(made)))
    pickle.loads(pickle.dumps(_Touch(tmp_path / "control")))
    assert (tmp_path / "control").exists()  # loading such a pickle does create a file
    (model_directory / "model.safetensors").unlink()
    if pretend == "an index that names it":
        index = {"metadata": {}, "weight_map": {"classifier.bias": "pytorch_model.bin"}}
        (model_directory / "model.safetensors.index.json").write_text(json.dumps(index))
        shutil.copy(model_directory / "pytorch_model.bin", model_directory / "model.safetensors")
    with pytest.raises(InputError):
        load(model_directory)
    assert not made.exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_code_in_the_directory_is_not_run(model_directory, tmp_path, backend):
    made = tmp_path / "made-by-the-code"
    (model_directory / "modeling_own.py").write_text(f"open({str(made)!r}, 'w')")
    config = json.loads((model_directory / "config.json").read_text("utf-8"))
    config |= {
        "model_type": "own",
        "auto_map": {"AutoModelForSequenceClassification": "modeling_own.Own"},
    }
    (model_directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError):
        load(model_directory, backend)
    assert not made.exists()
