"""Published UNets by name, from the Hugging Face hub."""

from pathlib import Path

from noise2map_core.models.backbone import CONFIG_NAME, WEIGHTS_NAME
from noise2map_core.models.shipped import shipped_names
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.runtime.notices import tell


def resolve_unet(name: str) -> Path:
    """The folder of a UNet: `name` itself, or a download of `owner/repository[/subfolder]`.

    Says on stderr where a download comes from and under which licence. Raises CheckpointError if
    there is no such folder and the hub does not give it.
    """
    if Path(name).is_dir():
        return Path(name)
    if name in shipped_names():
        raise CheckpointError(
            f"{name} is a checkpoint that ships, not a UNet in the published layout: there is "
            "nothing to import. Give its name to model.backbone or --checkpoint."
        )
    owner, _, rest = name.partition("/")
    repository, _, subfolder = rest.partition("/")
    if not owner or not repository or name.startswith((".", "/")):
        raise CheckpointError(
            f"{name} is not a folder. Give the folder of a diffusers UNet2DModel, or its name on "
            "the Hugging Face hub, such as ali97/noise2map/aid-10k."
        )
    return _download(f"{owner}/{repository}", subfolder)


def published_unets(repository: str) -> tuple[str, ...]:
    """Names of the UNets in a repository of the hub, as `resolve_unet` takes them.

    Raises CheckpointError if the hub does not answer, or knows no such repository.
    """
    # Half a second, for names of the hub alone.
    from huggingface_hub import HfApi

    try:
        found = HfApi().model_info(repository, timeout=30).siblings or []
    except Exception as error:  # the hub's client raises those of several HTTP libraries
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"the Hugging Face hub does not list {repository}: {reason} Leave it out where there "
            "is no network, or name a repository as OWNER/NAME."
        ) from error
    files = (Path(one.rfilename) for one in found)
    folders = {str(file.parent) for file in files if file.name == WEIGHTS_NAME}
    return tuple(f"{repository}/{one}" if one != "." else repository for one in sorted(folders))


def _download(repository: str, subfolder: str) -> Path:
    # Half a second, for names of the hub alone.
    from huggingface_hub import HfApi, snapshot_download

    prefix = f"{subfolder}/" if subfolder else ""
    try:
        card = HfApi().model_info(repository, timeout=30).card_data
        root = snapshot_download(
            repository, allow_patterns=[prefix + CONFIG_NAME, prefix + WEIGHTS_NAME]
        )
    except Exception as error:  # the hub's client raises those of several HTTP libraries
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"{repository} is not a folder here, and the Hugging Face hub does not give it: "
            f"{reason} Download {prefix}{CONFIG_NAME} and {prefix}{WEIGHTS_NAME} where there is a "
            "network, and give their folder."
        ) from error
    licence = (card.license if card else None) or "not stated"
    tell(f"from https://huggingface.co/{repository}, licence: {licence}")
    return Path(root) / subfolder
