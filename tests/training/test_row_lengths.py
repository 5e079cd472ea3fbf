"""The longest row that a model takes is found on rows, whatever its configuration says."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from training.config import ModelConfig
from training.errors import InputError
from training.model import check_lengths

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
    ids=["its field says -1", "its field says 8, its positions are relative"],
)
def test_a_field_that_sets_no_limit_refuses_nothing(kind: str, settings: dict[str, Any]) -> None:
    model = _model(kind, **settings)
    assert model.config.max_position_embeddings < _MOST
    assert _problem(model, max_length=_MOST, pad=0) is None


def test_a_model_that_takes_no_short_rows_is_refused_with_the_length_that_texts_have() -> None:
    model = _model("canine", max_position_embeddings=64, downsampling_rate=4)
    line = _problem(model, max_length=32, fewest=2, pad=0)
    assert line is not None
    assert "takes no row of 2 tokens" in line
    assert _problem(model, max_length=32, fewest=4, pad=0) is None


def test_a_model_that_takes_one_length_alone_is_refused() -> None:
    model = _model("nystromformer", num_landmarks=4, segment_means_seq_len=32)
    line = _problem(model, max_length=32, pad=0)
    assert line is not None
    assert "takes no row of 2 tokens" in line
    assert "takes neither" in str(_problem(model, max_length=30, pad=0))


def test_nothing_is_drawn_and_the_model_stays_in_its_mode() -> None:
    model = _model("bert", max_position_embeddings=23).train()
    state = torch.random.get_rng_state()
    _problem(model, max_length=40, pad=0)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
