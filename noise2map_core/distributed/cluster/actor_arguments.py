"""What actors of Ray Data are made of, handed to them whole.

Ray Data hands it to them as objects of Ray's store. An actor that dies could not be started again
once these are lost, of which Ray's core warns with a line of level E for every pool of actors
(ray-project/ray#53727). As values, a few kB, they are part of what says how an actor is started.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

VALUES = {"_map_transformer_ref": "_map_transformer", "_data_context_ref": "data_context"}
"""Attributes of Ray Data's own, which has no setting for it, and those that hold their values."""


@contextmanager
def whole_arguments() -> Iterator[None]:
    """Within the body, actors that Ray Data starts are told values instead of where they lie."""
    own = [name for name in VALUES if name not in vars(ActorPoolMapOperator)]  # none in a body
    for name in own:
        setattr(ActorPoolMapOperator, name, property(attrgetter(VALUES[name])))
    try:
        yield
    finally:
        for name in own:
            delattr(ActorPoolMapOperator, name)  # those of its base class are seen again
