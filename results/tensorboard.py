"""TensorBoard event files, a directory per trial: curves, hyperparameters and final scores."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_FAILURE,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    Interval,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from torch.utils.tensorboard import FileWriter

SCORE, EXAMPLES = "score", "examples"
"""Tags of the metrics' scalars."""

Number = int | float


class CurveWriter:
    """Writes the scalars of one trial; they are on disk when a call returns."""

    def __init__(self, directory: Path) -> None:
        """Open an event file in `directory`, which is created if it is missing."""
        self._writer = FileWriter(str(directory), flush_secs=3600)

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Add a point to each scalar at `step` (training rows seen, or optimizer steps)."""
        for name, value in scalars.items():
            point = Summary.Value(tag=name, simple_value=value)
            self._writer.add_summary(Summary(value=[point]), step)
        self._writer.flush()

    def describe(self, summary: Summary) -> None:
        """Add a summary of the whole trial, for the HPARAMS page."""
        self._writer.add_summary(summary)
        self._writer.flush()

    def close(self) -> None:
        """Close the event files."""
        self._writer.close()


def describe_experiment(
    intervals: Mapping[str, tuple[Number, Number]],
    choices: Mapping[str, Sequence[Number | str]],
    *,
    score_label: str,
) -> Summary:
    """Return the searched parameters and the metrics that the HPARAMS page compares.

    By default the page hides trials with values outside of these.

    Args:
        intervals: smallest and largest value by parameter.
        choices: values by parameter.
        score_label: label of the score, for people.
    """
    infos = [
        HParamInfo(
            name=name,
            type=DATA_TYPE_FLOAT64,
            domain_interval=Interval(min_value=low, max_value=high),
        )
        for name, (low, high) in intervals.items()
    ]
    infos += [_choice(name, values) for name, values in choices.items()]
    metrics = [
        _metric(SCORE, f"validation {score_label}", "last evaluation; none for failed trials"),
        _metric(EXAMPLES, "training rows seen", "scores at different budgets are not comparable"),
    ]
    return _summary(
        metadata.EXPERIMENT_TAG,
        HParamsPluginData(experiment=Experiment(hparam_infos=infos, metric_infos=metrics)),
    )


def describe_start(values: Mapping[str, Number | str]) -> Summary:
    """Return the summary of a trial that starts.

    Args:
        values: of its searched parameters, and whatever else distinguishes trials.
    """
    info = SessionStartInfo(start_time_secs=time.time())
    for name, value in values.items():
        kind = "string_value" if isinstance(value, str) else "number_value"
        setattr(info.hparams[name], kind, value)
    return _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def describe_end(*, failed: bool) -> Summary:
    """Return the summary of a trial that has ended and will not be resumed."""
    status = STATUS_FAILURE if failed else STATUS_SUCCESS
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _choice(name: str, values: Sequence[Number | str]) -> HParamInfo:
    is_text = any(isinstance(value, str) for value in values)
    info = HParamInfo(name=name, type=DATA_TYPE_STRING if is_text else DATA_TYPE_FLOAT64)
    info.domain_discrete.extend(values)
    return info


def _metric(tag: str, name: str, description: str) -> MetricInfo:
    return MetricInfo(name=MetricName(tag=tag), display_name=name, description=description)


def _summary(tag: str, content: HParamsPluginData) -> Summary:
    content.version = metadata.PLUGIN_DATA_VERSION
    plugin = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString()
    )
    summary_metadata = SummaryMetadata(plugin_data=plugin)
    # TensorBoard finds the summary by its tensor, so that it needs one.
    return Summary(
        value=[Summary.Value(tag=tag, metadata=summary_metadata, tensor=metadata.NULL_TENSOR)]
    )
