"""Settings of data sets."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field

from noise2map_core.runtime.storage import LocalPath
from noise2map_core.settings.numbers import PositiveFloat

Protocol = Literal["paper", "strict"]
"""paper: the filters and splits behind the published table. strict: every test chip counts, and
validation is never test."""

VAL_SHARE = 0.1


def _with_a_group(pattern: str | None) -> str | None:
    try:
        groups = 1 if pattern is None else re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if not groups:
        raise ValueError("needs a group in brackets, which says the area")
    return pattern


Share = Annotated[float, Field(gt=0, lt=1)]
MaskValue = Annotated[int, Field(ge=0, le=255)]


class SpaceNet7Config(BaseModel):
    """SpaceNet 7: monthly PlanetScope mosaics with building footprints, RGB, about 4 m.

    The training part from https://spacenet.ai/sn7-challenge (AWS bucket spacenet-dataset), licence
    CC BY-SA 4.0, all areas or some, with the footprints in labels_match_pix/ as downloaded; or
    burnt into labels_raster/ with metadata_train.json of Hafner et al. (2023),
    doi:10.3390/rs15215135.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["spacenet7"] = "spacenet7"

    root: LocalPath
    """Folder of the data set."""

    task: Literal["change", "segment", "both"] = "change"
    """Labels to store. both (spacenet7, second): pairs with change and the classes of each date.
    Kinds that come as folders: all that there is, if it is not set."""


class WhuConfig(BaseModel):
    """WHU Building: aerial images of Christchurch, RGB.

    change: pairs of 256 px, 0.2 m; segment: images of 512 px, 0.3 m. From
    http://gpcv.whu.edu.cn/data/building_dataset.html, free for research.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["whu"] = "whu"

    root: LocalPath
    """Folder of the data set."""

    task: Literal["change", "segment"] = "change"
    """Labels to store."""

    val_share: Share = VAL_SHARE
    """Share of train that becomes validation, in one block, where none is given (strict)."""


class XView2Config(BaseModel):
    """xView2 (xBD), the Santa Rosa wildfire: image pairs of 1024 px, RGB, about 0.5 m.

    From https://xview2.org after registration, licence CC BY-NC-SA 4.0: images/ with labels/ or
    targets/, whose damage is the change; or the masks of buildings that the paper's protocol reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["xview2"] = "xview2"

    root: LocalPath
    """Folder of the data set."""

    event: str = "santa-rosa-wildfire"
    """Disaster whose images are taken; all: of every one."""

    task: Literal["change", "segment"] = "change"
    """Labels to store."""

    val_share: Share = VAL_SHARE
    """Share of train that becomes validation, in one block, where none is given (strict)."""


class PublishedConfig(BaseModel):
    """A data set that comes as folders of images and masks, found by its layout.

    Change: levir-cd, levir-cd-plus, s2looking, sysu-cd, clcd, dsifn, oscd (RGB), second (with the
    classes of both dates). Buildings: inria, massachusetts. Their pages and terms stand in
    docs/how-to/data-sets.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal[
        "levir-cd", "levir-cd-plus", "s2looking", "sysu-cd", "clcd", "dsifn", "second", "oscd",
        "inria", "massachusetts",
    ]  # fmt: skip

    root: LocalPath
    """Folder of the data set."""

    task: Literal["change", "segment", "both"] | None = None
    """Labels to store. None: all that the data set has."""

    val_share: Share = VAL_SHARE
    """Share of train that becomes validation, in one block, where none is given (strict)."""


class FoldersConfig(BaseModel):
    """Image pairs in plain folders {train,val,test}/{A,B,label}, the layout of LEVIR-CD, or
    {A,B,label} with list/{train,val,test}.txt; without lists, all are for testing.

    Image1 and Image2, time1 and time2, t1 and t2, im1 and im2 or before and after may stand for A
    and B, OUT or mask for label. Single images with masks: images and masks, or image and label.
    LEVIR-CD (0.5 m) is at https://justchenhao.github.io/LEVIR, free for research.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True,
        validate_by_name=True, validate_by_alias=False,
    )  # fmt: skip

    kind: Literal["folders"] = "folders"

    root: LocalPath
    """Folder of the data set."""

    resolution: Annotated[PositiveFloat, Field(alias="gsd")]
    """Metres a pixel; LEVIR-CD: 0.5, DSIFN: 2."""

    attribution: str = ""
    """Who is to be named, and the licence."""

    mask_yes: MaskValue | None = None
    """Value of masks that means yes; all others mean no. None: masks hold 0 and 1, or 0 and 255."""

    mask_unlabelled: MaskValue | None = None
    """Value of masks where nobody labelled. None: there is none."""

    area_pattern: Annotated[str | None, AfterValidator(_with_a_group)] = None
    """Regular expression whose first group catches in an image's name which city or scene it is of,
    "(.+)-[0-9]+-[0-9]+": places that trainings and tables keep apart. None: each image is one."""

    val_share: Share = VAL_SHARE
    """Share of train that becomes validation, in one block, where none is given (strict)."""


DatasetConfig = Annotated[
    SpaceNet7Config | WhuConfig | XView2Config | PublishedConfig | FoldersConfig,
    Discriminator("kind"),
]
