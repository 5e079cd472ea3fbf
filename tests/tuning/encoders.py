"""Directories of small encoders whose vocabulary fits the bundled sample."""

from pathlib import Path

import pandas as pd
from transformers import BertConfig, BertForSequenceClassification, set_seed

from training.config import SAMPLE
from training.data import file_of
from training.tokenizer import learn_vocabulary, save_tokenizer


def save_encoder(directory: Path, *, layers: int = 1, hidden_size: int = 16, seed: int = 0) -> Path:
    """Save a BERT with random weights and the vocabulary of the sample as a hub would give it.

    Args:
        directory: where to write; it is made.
        layers: number of its layers.
        hidden_size: size of its hidden states, a multiple of 2.
        seed: of its weights.
    """
    directory.mkdir(parents=True)
    tokens = learn_vocabulary(list(pd.read_csv(file_of(SAMPLE))["text"]))
    save_tokenizer(tokens, directory, max_length=128)
    set_seed(seed)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden_size,
        max_position_embeddings=128,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    return directory
