"""Fields of data, model and training: types, ranges, defaults, and which may be searched.

A field's docstring is its explanation in `-h`; its annotation states whether it may be searched
(`Searched`). Ranges are checked here and nowhere else. The study's values are in
`tuning/configurations/indobert.yaml`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SAMPLE = "sample"
"""Value of `data.path` for the bundled sample."""

TINY = "tiny"
"""Value of `model.name` for a small BERT that is built from scratch."""


TEXT_COLUMN = "text"
"""Name of the text column where none is given."""


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
    """Annotation of a field of `TrainingConfig`: whether its values may be searched."""

    refused: str = ""
    """Why the field cannot be searched; empty: it can."""


SEARCHED = Searched()
ColumnName = Annotated[str, Field(min_length=1)]


STUDY_LABELS = (
    "Bukan Ujaran Kebencian",
    "Ujaran Kebencian - Ringan",
    "Ujaran Kebencian - Sedang",
    "Ujaran Kebencian - Berat",
)
"""Labels of the study's table, by rising severity."""


class DataConfig(Section):
    """Which rows are read, which are kept, and how they are split."""

    path: str
    """Table of texts: path or URI of a CSV, Parquet or JSON Lines file; `sample` is bundled."""
    text_column: ColumnName | None = None
    """Column of the text; null: the column named `text`."""
    label_column: ColumnName | None = None
    """Column of the label; null: the column named `label`, or `final_label` as in the study."""
    labels: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    """All labels, at least two; their order gives their codes 0, 1, 2, ...; null: those found in
    the table, at most 50, in sorted order, whole numbers by value."""
    drop_labels: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Labels whose rows are dropped, such as those of too few rows."""
    ordered: bool | None = None
    """Whether the labels are a scale in this order; null: only the study's labels are."""
    confidence_column: ColumnName | None = "confidence_score"
    """Column of the annotator's confidence, 0 to 1; null: rows are not filtered by it. If nobody
    asked for this column and the table lacks it, the same."""
    min_confidence: Annotated[Number, Field(ge=0, le=1)] = 0.7
    """Rows with a lower confidence, or without one, are dropped."""
    error_column: ColumnName | None = "error"
    """Column that is filled where labelling failed; such rows are dropped. null, or a column that
    the table lacks: no rows are dropped by it."""
    group_column: ColumnName | None = None
    """Column of groups (such as authors or threads) that stay in one split; null: no groups."""
    split_column: ColumnName | None = None
    """Column with a fixed split (train, validation, test); null: rows are split at random."""
    test_size: Share = 0.2
    """Share of the kept rows in the test set."""
    validation_size: Share | None = None
    """Share of the other rows in the validation set; null: 0.1, or 0.2 under 20,000 rows."""
    split_seed: Seed = 42
    """Seed of the random split."""
    near_duplicate_threshold: Annotated[Number, Field(gt=0, le=1)] | None = 0.8
    """Texts with at least this similarity (Jaccard of character n-grams) stay in one split; null:
    only texts that are equal after folding do."""
    separator: Annotated[Literal[",", ";", "\t", "|"], BeforeValidator(_separator)] | None = None
    """Separator of the cells of a CSV: `,`, `;`, `tab` or `|`; null: found in the first lines."""
    multiline: bool = False
    """Whether quoted cells may contain lines with the form of rows; if not, such a table is an
    error, since a quote that is not doubled has probably joined those rows."""

    @property
    def is_ordered(self) -> bool:
        """Whether the labels of a recognised configuration are a scale."""
        return self.labels == STUDY_LABELS if self.ordered is None else self.ordered

    @property
    def asks_for_confidence(self) -> bool:
        """Whether somebody gave the confidence column, which must then exist."""
        return "confidence_column" in self.model_fields_set

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels of a recognised configuration, in the order of their codes."""
        assert self.labels is not None, "the labels are not recognised yet"
        return self.labels

    @model_validator(mode="after")
    def _labels_are_usable(self) -> "DataConfig":
        if self.labels is None:
            return self
        if len(self.labels) < 2:
            raise ValueError(f"labels is {list(self.labels)}, but must have at least two entries")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels is {list(self.labels)}, but must not repeat an entry")
        if both := [label for label in self.labels if label in self.drop_labels]:
            raise ValueError(f"drop_labels is {both}, but must hold no entry of labels")
        return self


class ModelConfig(Section):
    """Which encoder is fine-tuned."""

    name: Annotated[str, Field(min_length=1)] = "indobenchmark/indobert-base-p1"
    """Hub id, directory, or `tiny`: a small BERT from scratch, whose vocabulary is learnt from the
    training texts."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; null: the newest."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`pretrained`, or `random`: the same architecture with random weights."""
    max_length: Annotated[Count, Field(ge=4, le=8192)] = 128
    """Longest text in tokens, special tokens included; longer texts are truncated."""


_BUDGET = Searched("it is the budget, and configurations are compared at equal budgets")
_ROUNDING = Searched("it changes speed and rounding, not what is learnt")
_LENGTH_OF_TRIALS = Searched("it sets how long a trial runs, not how well it learns")
_LUCK = Searched("the best of several seeds is luck, not a better configuration")


class TrainingConfig(Section):
    """How one model is fine-tuned; trial 0 of a search uses exactly these values."""

    epochs: Annotated[Count, Field(le=1000), _BUDGET] = 3
    """Number of passes over the training rows."""
    batch_size: Annotated[Count, Field(le=4096), SEARCHED] = 16
    """Rows in each optimizer step."""
    eval_batch_size: Annotated[Count, Field(le=65536), Searched("it changes no score")] = 32
    """Rows in each forward pass of an evaluation; it does not change the score."""
    learning_rate: Annotated[Number, Field(gt=0, le=1), SEARCHED] = 2e-5
    """Peak learning rate of AdamW, reached when the warm-up ends."""
    warmup_steps: Annotated[Number, Field(ge=0), SEARCHED] = 0.1
    """Number of steps of the linear warm-up; a value below 1 is a share of all steps."""
    weight_decay: Annotated[Number, Field(ge=0, le=1), SEARCHED] = 0.01
    """Decoupled weight decay of AdamW, except for biases and layer norms."""
    max_grad_norm: Annotated[Number, Field(gt=0), SEARCHED] = 1.0
    """Gradients are clipped to this Euclidean norm."""
    class_weights: Annotated[Literal["balanced", "sqrt", "none"], SEARCHED] = "balanced"
    """Weights of the classes in the loss; `balanced`: n / (classes * n_class), counted on training
    rows; `sqrt`: proportional to the square root of these; `none`: all are 1."""
    label_smoothing: Annotated[Number, Field(ge=0, lt=1), SEARCHED] = 0.0
    """Share of each label's probability that the loss spreads evenly over all classes (Szegedy et
    al. 2016); a row keeps the weight of its label, and evaluations report the loss without it."""
    schedule: Annotated[Literal["linear", "cosine", "constant"], SEARCHED] = "linear"
    """Learning rate after the warm-up: `linear` or `cosine` (Loshchilov and Hutter 2017) fall to 0
    at the end of the full budget, `constant` stays."""
    layer_decay: Annotated[Number, Field(gt=0, le=1), SEARCHED] = 1.0
    """Learning rate of each layer over that of the layer above, down to the embeddings (Howard and
    Ruder 2018; Clark et al. 2020); 1: all layers alike."""
    head_learning_rate: Annotated[Number, Field(gt=0, le=1000), SEARCHED] = 1.0
    """Learning rate of the new head, as a multiple of `learning_rate`."""
    dropout: Annotated[Annotated[Number, Field(ge=0, lt=1)] | None, SEARCHED] = None
    """Probability of dropout everywhere in the model; null: the model's own."""
    early_stopping_patience: Annotated[Count, Field(le=1000), _LENGTH_OF_TRIALS] = 3
    """A trial is stopped early after this number of epochs without a better score."""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], _ROUNDING] = "auto"
    """`auto`: bfloat16 on a GPU that has it, else float32."""
    cuda_graphs: Annotated[bool, Searched("it changes how steps run, not the score")] = True
    """Whether steps run as CUDA graphs on a GPU, which is faster and needs a little more memory."""
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
    """Content of `best.yaml`, and of `training_config.yaml` in a model directory."""

    data: DataConfig
    """As in the search."""
    model: ModelConfig
    """As in the search."""
    training: TrainingConfig
    """The values of the winner."""
