"""Read TensorBoard's HParams page through the code of its own server."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment
from tensorboard.plugins.hparams.list_session_groups import Handler


@dataclass(frozen=True, kw_only=True)
class Session:
    """A row of the page."""

    values: dict[str, float | str]
    metrics: dict[str, float]
    status: str


@dataclass(frozen=True)
class Page:
    """The page of a directory of event files."""

    experiment: Any
    sessions: dict[str, Session]


def read_page(directory: Path) -> Page:
    """Read the page with its initial filters: each parameter within its domain."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(directory))
    context = backend_context.Context(TBContext(data_provider=provider))
    experiment = get_experiment.Handler(
        RequestContext(), context, "", api_pb2.GetExperimentRequest()
    ).run()
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=10_000,
        allowed_statuses=api_pb2.Status.values(),
        col_params=[*_columns(experiment)],
    )
    found = Handler(RequestContext(), context, "", request).run()
    assert all(len(group.sessions) == 1 for group in found.session_groups)
    return Page(experiment, {group.name: _session(group) for group in found.session_groups})


def _columns(experiment: Any) -> Iterator[Any]:
    for info in experiment.hparam_infos:
        if info.HasField("domain_interval"):
            yield api_pb2.ColParams(hparam=info.name, filter_interval=info.domain_interval)
        else:
            yield api_pb2.ColParams(hparam=info.name, filter_discrete=info.domain_discrete)


def _session(group: Any) -> Session:
    return Session(
        values={
            name: value.string_value if value.HasField("string_value") else value.number_value
            for name, value in group.hparams.items()
        },
        metrics={metric.name.tag: metric.value for metric in group.metric_values},
        status=api_pb2.Status.Name(group.sessions[0].status).removeprefix("STATUS_").lower(),
    )
