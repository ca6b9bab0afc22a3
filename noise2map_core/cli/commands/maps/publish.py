"""Copy a map or an area's nights to a bucket or folder where others read them.

Readers never see half: files come first, what names them behind. The same command again sends only
what is new.
"""

from functools import partial

from noise2map_core.distributed.tasks import mapper_for
from noise2map_core.publishing.publish import Published, publish
from noise2map_core.workflows.tools.maps.publish import PublishConfig


def run(config: PublishConfig) -> Published:
    """Publish. Raises what `publish` does."""
    mapper_of = partial(mapper_for, resources=config.resources)
    return publish(
        config.output, config.to, config.base_url, prune=config.prune, mapper_of=mapper_of
    )
