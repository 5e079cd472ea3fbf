"""Configuration of data, model and training: typed, frozen, checked here and nowhere else.

The defaults are those of the base `indobert`, which are the study's where it gives one.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SAMPLE = "sample"
"""The value of `data.path` that stands for the bundled sample."""

TINY = "tiny"
"""The value of `model.name` that stands for a small BERT built from scratch."""


class Section(BaseModel):
    """A frozen section of the configuration; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


def _not_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _separator(value: object) -> object:
    return "\t" if value in ("tab", "\\t") else value


Share = Annotated[float, BeforeValidator(_not_boolean), Field(gt=0, lt=1)]
Count = Annotated[int, BeforeValidator(_not_boolean), Field(ge=1)]
Seed = Annotated[int, BeforeValidator(_not_boolean), Field(ge=0, lt=2**32)]
Number = Annotated[float, BeforeValidator(_not_boolean)]


@dataclass(frozen=True)
class Searched:
    """Stands at a field of training: whether a search may try values of it."""

    refused: str = ""
    """Why not; empty: it may."""


SEARCHED = Searched()
ColumnName = Annotated[str, Field(min_length=1)]


_STUDY_LABELS = (
    "Bukan Ujaran Kebencian",
    "Ujaran Kebencian - Ringan",
    "Ujaran Kebencian - Sedang",
    "Ujaran Kebencian - Berat",
)


class DataConfig(Section):
    """Which rows are read, which are kept, and how they are split."""

    path: str
    """Table of texts: a CSV, Parquet or JSON Lines file, its URI, or `sample`, the bundled one."""
    text_column: ColumnName = "text"
    """Column that holds the text."""
    label_column: ColumnName = "final_label"
    """Column that holds the label."""
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = _STUDY_LABELS
    """Every label, in the order that maps them to 0, 1, 2, ...; at least two."""
    ordered: bool | None = None
    """Whether the labels are a scale, in this order; null: the study's are, others are not."""
    confidence_column: ColumnName | None = "confidence_score"
    """Column that holds the labeller's confidence, 0 to 1; null: no such filter."""
    min_confidence: Annotated[Number, Field(ge=0, le=1)] = 0.7
    """Rows with a lower confidence, or none, are dropped."""
    error_column: ColumnName | None = "error"
    """Column that is filled where labelling failed; null, or no such column: no such filter."""
    group_column: ColumnName | None = None
    """Column whose equal values (an author, a thread) stay in one split; null: none."""
    split_column: ColumnName | None = None
    """Column with a fixed split (train, validation, test); null: the split is drawn."""
    test_size: Share = 0.2
    """Share of the kept rows that is held out as the test part."""
    validation_size: Share | None = None
    """Share of the rest that decides the search; null: 0.1, or 0.2 under 20,000 rows."""
    split_seed: Seed = 42
    """Seed of the split."""
    near_duplicate_threshold: Annotated[Number, Field(gt=0, le=1)] | None = 0.8
    """Texts at least this alike (Jaccard, character n-grams) share a split; null: of one fold."""
    separator: Annotated[Literal[",", ";", "\t", "|"], BeforeValidator(_separator)] | None = None
    """Between the cells of a CSV: `,`, `;`, `tab` or `|`; null: found from the first lines."""
    multiline: bool = False
    """Whether quoted cells may hold lines that look like rows; otherwise such a table is refused,
    since a quote that was not doubled has probably swallowed them."""

    @property
    def is_ordered(self) -> bool:
        """Whether the labels are a scale."""
        return self.labels == _STUDY_LABELS if self.ordered is None else self.ordered

    @model_validator(mode="after")
    def _labels_are_usable(self) -> "DataConfig":
        if len(self.labels) < 2:
            raise ValueError(f"labels is {list(self.labels)}, but must hold at least two")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels is {list(self.labels)}, but must not hold one twice")
        return self


class ModelConfig(Section):
    """Which encoder is fine-tuned."""

    name: Annotated[str, Field(min_length=1)] = "indobenchmark/indobert-base-p1"
    """Hub id, directory, or `tiny`: a small BERT from scratch with a vocabulary of the data."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; null: the newest."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`pretrained`, or `random`: the architecture without its weights."""
    max_length: Annotated[Count, Field(ge=4, le=8192)] = 128
    """Longest row in word pieces, special ones included; the rest is cut off."""


_BUDGET = Searched("it is the budget, and configurations are compared at equal budgets")
_IN_WORDS = Searched("only numeric fields are searched")
_LENGTH_OF_TRIALS = Searched("it sets how long a trial runs, not how well it learns")
_LUCK = Searched("picking a seed picks luck, not a configuration")


class TrainingConfig(Section):
    """How one model is fine-tuned; as written here it is also trial 0 of a search."""

    epochs: Annotated[Count, Field(le=1000), _BUDGET] = 3
    """Passes over the training rows."""
    batch_size: Annotated[Count, Field(le=4096), SEARCHED] = 16
    """Rows a step of the optimizer."""
    eval_batch_size: Annotated[Count, Field(le=65536), Searched("it changes no score")] = 32
    """Rows a forward pass of evaluation; changes no score."""
    learning_rate: Annotated[Number, Field(gt=0, le=1), SEARCHED] = 2e-5
    """Peak learning rate of AdamW, reached when the warm-up ends."""
    warmup_steps: Annotated[Number, Field(ge=0), SEARCHED] = 500
    """Steps of linear warm-up; a value below 1 is a share of all steps."""
    weight_decay: Annotated[Number, Field(ge=0, le=1), SEARCHED] = 0.01
    """Decoupled weight decay of AdamW; biases and layer norms have none."""
    max_grad_norm: Annotated[Number, Field(gt=0), SEARCHED] = 1.0
    """Gradients are clipped to this Euclidean norm."""
    class_weights: Annotated[Literal["balanced", "none"], _IN_WORDS] = "balanced"
    """`balanced`: weight n / (classes * n_class), counted on training rows; or `none`."""
    early_stopping_patience: Annotated[Count, Field(le=1000), _LENGTH_OF_TRIALS] = 3
    """Epochs without a better score after which a trial ends."""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], _IN_WORDS] = "auto"
    """`auto`: bfloat16 on a GPU that has it, else float32."""
    cuda_graphs: Annotated[bool, Searched("it sets how steps run, and changes no score")] = True
    """Whether steps run as CUDA graphs on a GPU: faster, with a little more memory."""
    seed: Annotated[Seed, _LUCK] = 42
    """Seed of the initial weights, the order of rows and dropout."""

    @model_validator(mode="after")
    def _warmup_is_whole_or_a_share(self) -> "TrainingConfig":
        if self.warmup_steps >= 1 and self.warmup_steps != int(self.warmup_steps):
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}, but must be a whole number of steps,"
                " or a share below 1"
            )
        return self


class WinningConfiguration(Section):
    """The content of `best.yaml`, and of the `training_config.yaml` of a model that ships."""

    data: DataConfig
    """As in the search."""
    model: ModelConfig
    """As in the search."""
    training: TrainingConfig
    """With the winner's values."""
