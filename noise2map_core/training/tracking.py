"""A training logged to MLflow, besides its output. Only the driver talks to MLflow.

Workers hand the driver what rank 0 draws for TensorBoard, so that they need neither the library nor
the keys of a tracking server.
"""

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.environment import environment
from noise2map_core.runtime.errors import ConfigError, Noise2MapError, OutputHeldError
from noise2map_core.runtime.redact import redacted
from noise2map_core.runtime.storage import absolute, local_copy
from noise2map_core.settings.learning import MlflowConfig
from noise2map_core.settings.reading import flattened
from noise2map_core.training.run import TrainingRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_TAG, DIGEST_TAG = "noise2map.run", "noise2map.digest"
MAX_METRICS, MAX_PARAMS, MAX_PARAM = 1000, 100, 6000
"""Metrics and params that MLflow takes at once, and characters of a param."""
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
"""States of a run, as MLflow calls them."""
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}
"""Nobody else is told of a training; and seven tries of a server that is not there take minutes."""


@contextmanager
def tracked(config: MlflowConfig | None, training_run: TrainingRun) -> Iterator["Tracker | None"]:
    """What logs a training in the body; None without a setting. Says of a body that fails that it
    did.

    Raises ConfigError if MLflow is not installed, Noise2MapError if it does not answer.
    """
    if config is None:
        yield None
        return
    with environment(ENVIRONMENT):
        tracker = Tracker(config, training_run)
        try:
            yield tracker
        except OutputHeldError:  # what MLflow shows is the run that holds the output
            raise
        except BaseException as error:
            tracker.end(FAILED if isinstance(error, Exception) else KILLED)
            raise


class Tracker:
    """The run of MLflow that belongs to a training: the same one when that is started again."""

    def __init__(self, config: MlflowConfig, training_run: TrainingRun) -> None:
        self._client, self._where = _client(config.tracking_uri), redacted(config.tracking_uri)
        with self._explained("cannot be used"):
            found = _find_run(self._client, config.experiment, training_run)
            if found.info.status in (FAILED, KILLED):
                self._client.update_run(found.info.run_id, RUNNING)
            self._last = _last_steps(self._client, found)
        self._id, self.finished = found.info.run_id, found.info.status == FINISHED
        self._lock, self._warned = threading.Lock(), False
        self._waiting: list[Any] = []

    def log(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Take points of curves: name, value, step, milliseconds since 1970.

        Of a step that is taken again after a kill MLflow keeps what it was told first. Points that
        it does not take now are offered again with the next ones: training goes on.
        """
        # An extra, for those who track.
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        new = [point for point in points if point[2] > self._last.get(point[0], -1)]
        self._last |= {name: step for name, _, step, _ in new}
        self._waiting += [Metric(name, value, at, step) for name, value, step, at in new]
        try:
            self._send()
        except MlflowException as error:
            if not self._warned:
                warnings.warn(redacted(f"MLflow at {self._where}: {error}"), stacklevel=2)
            self._warned = True

    def finish(self, results: Mapping[str, float], files: Sequence[Path]) -> None:
        """Log results and files, and mark the run as finished.

        Raises Noise2MapError if MLflow does not take them.
        """
        with self._explained("did not take the results of the training, which is done and saved"):
            self._send()
            for name, value in results.items():
                self._client.log_metric(self._id, name, value)
            for file in files:
                with local_copy(file) as copy:
                    self._client.log_artifact(self._id, str(copy))
            self._client.set_terminated(self._id, FINISHED)

    def end(self, status: str) -> None:
        """Mark the run as ended otherwise; where MLflow does not answer, what ended it matters
        more."""
        # An extra, for those who track.
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):
            self._client.set_terminated(self._id, status)

    def _send(self) -> None:
        with self._lock:
            while self._waiting:
                self._client.log_batch(self._id, metrics=self._waiting[:MAX_METRICS])
                del self._waiting[:MAX_METRICS]

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        # An extra, for those who track.
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise Noise2MapError(
                f"MLflow at {self._where} {what}: {error}. Check mlflow.tracking_uri and the "
                "server, and run the same command again; or leave mlflow out."
            ) from None


def _client(tracking_uri: str) -> "MlflowClient":
    try:
        # An extra, for those who track.
        from mlflow import MlflowClient
    except ImportError:
        raise ConfigError(
            "mlflow.tracking_uri is set, but MLflow is not installed. Install "
            "noise2map[mlflow], or leave mlflow out."
        ) from None
    return MlflowClient(tracking_uri=tracking_uri)


def _find_run(client: "MlflowClient", experiment: str, training_run: TrainingRun) -> "Run":
    """The run of this output and these settings, made where it is not there."""
    output = absolute(training_run.output)
    key = digest_of([training_run.digest, str(output)])
    found = client.get_experiment_by_name(experiment)
    number = found.experiment_id if found else client.create_experiment(experiment)
    runs = client.search_runs([number], f"tags.`{RUN_TAG}` = '{key}'", max_results=1)
    if runs:
        return runs[0]
    tags = {RUN_TAG: key, DIGEST_TAG: training_run.digest}
    run = client.create_run(number, tags=tags, run_name=output.name)
    _log_settings(client, run.info.run_id, training_run)
    return run


def _last_steps(client: "MlflowClient", run: "Run") -> dict[str, int]:
    """The last step of every curve that a run has."""
    return {
        name: max(point.step for point in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


def _log_settings(client: "MlflowClient", run_id: str, training_run: TrainingRun) -> None:
    # An extra, for those who track.
    from mlflow.entities import Param

    settings = training_run.config.model_dump(mode="json", exclude={"mlflow"})
    params = [Param(name, redacted(value)[:MAX_PARAM]) for name, value in flattened(settings)]
    for start in range(0, len(params), MAX_PARAMS):
        client.log_batch(run_id, params=params[start : start + MAX_PARAMS])
