"""Samples of a folder whose layout is one of a table."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.datasets.layouts import (
    FOLDERS,
    PUBLISHED,
    SPLITS,
    WHU_CHANGE,
    WHU_SEGMENT,
    XVIEW2,
    Layout,
)
from noise2map_core.datasets.sample import IMAGE_DRIVERS, Faults, Sample, natural
from noise2map_core.runtime.documents import read_text
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import Protocol

Named = dict[str, Path]
"""Files by what the layout calls {stem}, in natural order."""

UNSPLIT = "test"
"""What is neither in the folder of a split nor in a list is there to be tested on."""

DEPTH = 2
"""So many folders may stand around the layout: what archives are unpacked into."""


@dataclass(frozen=True)
class Found:
    """A layout in its place."""

    layout: Layout
    root: Path
    """The folder that its paths begin at."""
    samples: tuple[Sample, ...]
    """In natural order, split by split."""
    dropped: dict[str, int]


def find_samples(
    root: Path, layouts: Sequence[Layout], protocol: Protocol, about: str = ""
) -> Found:
    """The samples of the first layout that fits `root`, or a folder in it.

    Raises ConfigError saying what is there and which layouts are known; for a list, a name without
    partner or a part that is missing.
    """
    layout, base = _fitting(root, layouts, about)
    faults = Faults(base, protocol)
    by_folder = [_samples(base, layout, folder, faults) for folder in _folders(base, layout)]
    samples = [sample for samples in by_folder for sample in samples]
    kept, unlisted = _listed(base, layout, samples, faults)
    dropped = faults.settle() | ({"in no list": unlisted} if unlisted else {})
    return Found(layout, base, tuple(kept), dropped)


def _fitting(root: Path, layouts: Sequence[Layout], about: str) -> tuple[Layout, Path]:
    if not root.is_dir():
        raise ConfigError(f"folder {root} does not exist. Set dataset.root to: {about}")
    for bases in _bases(root):
        fits = [(layout, base) for base in bases for layout in layouts if _fits(base, layout)]
        if len({base for _, base in fits}) > 1:
            places = ", ".join(sorted({str(base) for _, base in fits}))
            raise ConfigError(f"{root} holds several data sets. Set dataset.root to one: {places}.")
        if fits:
            return fits[0]
    raise ConfigError(_unknown(root, layouts, about))


def _bases(root: Path) -> Iterator[list[Path]]:
    """`root`, what is in it, what is in that."""
    level = [root]
    for _ in range(DEPTH + 1):
        yield level
        level = [
            path for base in level for path in sorted(base.iterdir())
            if path.is_dir() and path.name not in SPLITS
        ]  # fmt: skip


def _fits(base: Path, layout: Layout) -> bool:
    """True if there is a file for every path of the layout, in whatever split."""
    return all(
        any(_any_file(base, path, folder) for folder in _folders(base, layout))
        for path in layout.paths
    )


def _folders(base: Path, layout: Layout) -> list[str]:
    """The names of `layout.splits` that are there; one that is none where nothing is split."""
    split = [path for path in layout.paths if "{split}" in path]
    if not split:
        return [""]
    return [
        folder for folder in layout.splits if any(_any_file(base, path, folder) for path in split)
    ]


def _any_file(base: Path, path: str, folder: str) -> bool:
    return next(_files(base, path, folder), None) is not None


def _files(base: Path, path: str, folder: str) -> Iterator[tuple[str, Path]]:
    """{stem} and file of everything that a path of a layout names, in no order."""
    wanted = path.replace("{split}", folder)
    ending = "" if Path(path).suffix in (*IMAGE_DRIVERS, ".json", ".geojson") else r"\.[^./]+"
    pattern = re.compile(re.escape(wanted).replace(r"\{stem\}", r"(?P<stem>[^/]+)") + ending)
    for file in base.glob(wanted.replace("{stem}", "*") + (".*" if ending else "")):
        found = pattern.fullmatch(file.relative_to(base).as_posix())
        if file.name.startswith("."):  # what macOS puts beside a file into archives
            continue
        if found and (not ending or file.suffix.lower() in IMAGE_DRIVERS) and file.is_file():
            yield found["stem"], file


def _named(base: Path, path: str, folder: str) -> Named:
    """The files of a path. Raises ConfigError if two have one name."""
    found: Named = {}
    for stem, file in _files(base, path, folder):
        if stem in found:
            raise ConfigError(f"{found[stem]} and {file} have one name. Remove one of them.")
        found[stem] = file
    return {stem: found[stem] for stem in sorted(found, key=natural)}


def _samples(base: Path, layout: Layout, folder: str, faults: Faults) -> list[Sample]:
    """The samples of one split's folder."""
    files = [_named(base, path, folder) for path in layout.paths]
    masks = files[len(layout.images) :]
    if folder in layout.unlabelled and not any(masks):
        return []
    for path, found in zip(layout.paths, files, strict=True):
        if not found:
            where = base / Path(path.replace("{split}", folder)).parent
            raise ConfigError(
                f"folder {where} does not exist or holds no image ({', '.join(IMAGE_DRIVERS)}); "
                f"{base} is laid out as {layout}."
            )
    return [
        _sample(layout, folder, stem, group) for stem, group in _joined(layout, files, base, faults)
    ]


def _joined(
    layout: Layout, files: list[Named], base: Path, faults: Faults
) -> Iterator[tuple[str, list[Path]]]:
    """The files of each sample, by stem; names without partner are faults."""
    if all(len(found) == 1 for found in files):
        yield next(iter(files[-1])), [next(iter(found.values())) for found in files]
        return
    split = [found for found, path in zip(files, layout.paths, strict=True) if "{split}" in path]
    for stem in dict.fromkeys(stem for found in split or files for stem in found):
        group = [found.get(stem) for found in files]
        there = [path for path in group if path is not None]
        if len(there) == len(files):
            yield stem, there
        else:
            faults.add("names without partner", there[0].relative_to(base).as_posix())


def _sample(layout: Layout, folder: str, stem: str, group: list[Path]) -> Sample:
    split = layout.splits[folder] if folder else UNSPLIT
    if layout.tested and re.fullmatch(layout.tested, stem):
        split = "test"
    dates, to_change = len(layout.images), len(layout.images) + len(layout.segment)
    return Sample(
        place=f"{folder or UNSPLIT}/{stem}",
        split=split,
        images=tuple(group[:dates]),
        segment=tuple(group[dates:to_change]),
        change=tuple(group[to_change:]),
    )


def _listed(
    base: Path, layout: Layout, samples: list[Sample], faults: Faults
) -> tuple[list[Sample], int]:
    """The samples in the splits of the lists, and how many are in none; all of them where there
    are no lists."""
    lists = _lists(base, layout)
    if not lists:
        return samples, 0
    of_stem = {sample.place.partition("/")[2]: sample for sample in samples}
    split_of: dict[str, str] = {}
    for split, path in lists.items():
        for stem in _stems(path):
            if split_of.setdefault(stem, split) != split:
                raise ConfigError(f"{path} names {stem!r}, which the list of another split names.")
            if stem not in of_stem:
                faults.add(f"names of files that are not there in {path.name}", stem)
    kept = [
        _moved(of_stem[stem], split) for stem, split in split_of.items() if stem in of_stem
    ]  # fmt: skip
    return kept, len(of_stem) - len(kept)


def _moved(sample: Sample, split: str) -> Sample:
    stem = sample.place.partition("/")[2]
    return Sample(f"{split}/{stem}", split, sample.images, sample.segment, sample.change)


def _lists(base: Path, layout: Layout) -> dict[str, Path]:
    """The list of each split. Raises ConfigError where there are lists, but none of a split."""
    if not layout.lists:
        return {}
    found = {
        split: base / layout.lists.replace("{split}", name)
        for name, split in SPLITS.items()
        if (base / layout.lists.replace("{split}", name)).is_file()
    }
    others = sorted((base / layout.lists).parent.glob(f"*{Path(layout.lists).suffix}"))
    if others and not found:
        raise ConfigError(
            f"{others[0]} is no list of a split. Call the lists train.txt, val.txt and test.txt."
        )
    return found


def _stems(path: Path) -> list[str]:
    """The names in a list, with or without folders and ending, a line or a comma each."""
    try:
        lines = re.split(r"[\n,]", read_text(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"list {path} cannot be read ({error}).") from error
    names = [Path(line.strip().split()[0]).name for line in lines if line.strip()]
    stems = [
        name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in IMAGE_DRIVERS else name
        for name in names
    ]
    return list(dict.fromkeys(stems))


def _unknown(root: Path, layouts: Sequence[Layout], about: str) -> str:
    """One line on what a folder is not, what it holds, and what it might be."""
    known = "; ".join(dict.fromkeys(map(str, layouts)))
    others = _others(root)
    hint = f" It looks like: {', '.join(others)}; set dataset.kind." if others else ""
    where = f" {about}" if about else ""
    return (
        f"{root} holds {_content(root)}: no layout that is known. Known are {known}.{hint}{where}"
    )


def _others(root: Path) -> list[str]:
    """Kinds of data sets whose layouts fit."""
    kinds = {kind: published.layouts for kind, published in PUBLISHED.items()}
    kinds |= {"whu": (*WHU_CHANGE, *WHU_SEGMENT), "xview2": XVIEW2, "folders": FOLDERS}
    return [
        kind for kind, layouts in kinds.items() if any(_fits(root, layout) for layout in layouts)
    ]


def _content(root: Path, most: int = 8) -> str:
    """The first names in a folder and its folders."""
    names = [
        path.relative_to(root).as_posix()
        for pattern in ("*", "*/*")
        for path in sorted(root.glob(pattern))
        if path.is_dir() or pattern == "*"
    ]
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])]) or "nothing"
