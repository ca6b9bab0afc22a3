"""Copy a map or an area's nights to a bucket or folder where others read them.

Readers never see half: files come first, what names them behind. The same command again sends only
what is new.
"""

from noise2map_core.distributed.mappers import mapper_of
from noise2map_core.publishing.publish import Published, publish
from noise2map_core.workflows.tools.maps.publish import PublishConfig


def run(config: PublishConfig) -> Published:
    """Publish. Raises what `publish` does."""
    return publish(
        config.output, config.to, config.base_url, prune=config.prune,
        mapper_of=mapper_of(config.resources),
    )  # fmt: skip
