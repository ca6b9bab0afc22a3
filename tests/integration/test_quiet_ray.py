"""What Ray says of its own accord on a terminal."""

import pytest
import ray
from ray.data import ActorPoolStrategy

from noise2map_core.distributed.cluster.actor_arguments import VALUES, ActorPoolMapOperator
from noise2map_core.distributed.cluster.session import ray_session
from noise2map_core.settings.resources import ResourcesConfig

ALARM = "constructor arguments in the object store"


class Same:
    """An actor that gives back what it gets."""

    def __call__(self, batch: dict[str, object]) -> dict[str, object]:
        return batch


def mapped() -> int:
    """Rows that an actor of Ray Data has seen."""
    return int(ray.data.range(3).map_batches(Same, compute=ActorPoolStrategy(size=1)).count())


@pytest.mark.usefixtures("ray_cluster")
def test_actors_are_started_without_an_alarm(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ray_session(ResourcesConfig()):
        assert mapped() == 3
    assert ALARM not in capfd.readouterr().err
    for name in VALUES:  # what Ray Data does by itself
        monkeypatch.delattr(ActorPoolMapOperator, name)
    assert mapped() == 3
    assert ALARM in capfd.readouterr().err
