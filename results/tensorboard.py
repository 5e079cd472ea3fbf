"""Curves for TensorBoard: one directory of event files a trial."""

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


class CurveWriter:
    """Writes scalars of one trial; each call is on disk when it returns."""

    def __init__(self, directory: Path) -> None:
        """Open event files in `directory`, made if it is not there."""
        self._writer = FileWriter(str(directory), flush_secs=3600)

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Add one point a scalar at `step` (training rows seen, or optimizer steps)."""
        for name, value in scalars.items():
            point = Summary.Value(tag=name, simple_value=value)
            self._writer.add_summary(Summary(value=[point]), step)
        self._writer.flush()

    def describe(self, summary: Summary) -> None:
        """Add what is known of the trial as a whole, for another page than that of scalars."""
        self._writer.add_summary(summary)
        self._writer.flush()

    def close(self) -> None:
        """Close the event files."""
        self._writer.close()


SCORE, EXAMPLES = "score", "examples"
"""Tags of the metrics' scalars."""

Number = int | float


def describe_experiment(
    intervals: Mapping[str, tuple[Number, Number]],
    choices: Mapping[str, Sequence[Number | str]],
    *,
    score_label: str,
) -> Summary:
    """What was searched, and by which metrics it is compared.

    The page hides by default what lies outside of these values.

    Args:
        intervals: by parameter, its least and its greatest value.
        choices: by parameter, its values.
        score_label: what the scores are, for people.
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
        _metric(SCORE, f"validation {score_label}", "the last evaluation; none for what failed"),
        _metric(EXAMPLES, "training rows seen", "equal scores at unequal budgets are not equal"),
    ]
    return _summary(
        metadata.EXPERIMENT_TAG,
        HParamsPluginData(experiment=Experiment(hparam_infos=infos, metric_infos=metrics)),
    )


def describe_start(values: Mapping[str, Number | str]) -> Summary:
    """A trial begins.

    Args:
        values: of its searched parameters, and what else tells trials apart.
    """
    info = SessionStartInfo(start_time_secs=time.time())
    for name, value in values.items():
        kind = "string_value" if isinstance(value, str) else "number_value"
        setattr(info.hparams[name], kind, value)
    return _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def describe_end(*, failed: bool) -> Summary:
    """A trial has ended, for good."""
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
    # The page's reader lists tensors, so that the summary needs one.
    return Summary(
        value=[Summary.Value(tag=tag, metadata=summary_metadata, tensor=metadata.NULL_TENSOR)]
    )
