"""The connection to a Ray cluster."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from noise2map_core.distributed.config import ResourcesConfig


@contextmanager
def ray_session(resources: ResourcesConfig) -> Iterator[None]:
    """Connect to the configured cluster, or start one in this process and stop it at the end.

    A connection that is already there (a test's, a notebook's) is used and left open.
    """
    if ray.is_initialized():
        yield
        return
    ray.init(
        address=resources.address,
        num_cpus=resources.num_cpus,
        include_dashboard=False,
        logging_level=logging.WARNING,
        log_to_driver=False,
    )
    _quiet_data()
    try:
        yield
    finally:
        ray.shutdown()


def _quiet_data() -> None:
    """Our own progress line speaks; Ray Data's bars and logs do not."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
