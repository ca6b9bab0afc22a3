"""What is released: the library with its applications, at work without the checkout, and gone
without a trace when it is uninstalled."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import noise2map_core

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    ended = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def distributions(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source of the working tree, and a wheel of that source, built without the network."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and this one's other packages."""
    return environment(wheel, tmp_path_factory.mktemp("environment")) / "bin"


def environment(wheel: Path, folder: Path) -> Path:
    """Other packages are named in a .pth file, whose folder's own .pth files do not count: so the
    editable install of the checkout is out of sight."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet",
        "--no-deps", "--no-index", "--force-reinstall", wheel, cwd=wheel.parent,
    )  # fmt: skip
    return folder


def test_an_index_takes_what_is_built(distributions: Path, checkout: Path) -> None:
    files = sorted(distributions.iterdir())
    assert [path.suffix for path in files] == [".whl", ".gz"]
    told = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=distributions)
    assert told.count("PASSED") == 2
    with tarfile.open(files[1]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= held
    with zipfile.ZipFile(files[0]) as archive:
        (about,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(about).decode()
    assert f"Version: {noise2map_core.__version__}\n" in metadata
    assert (
        "License-Expression: Apache-2.0\n" in metadata and "\nRequires-Python: >=3.11" in metadata
    )


def test_nothing_is_left_when_it_is_uninstalled(wheel: Path, tmp_path: Path) -> None:
    folder = environment(wheel, tmp_path / "environment")
    run(folder / "bin" / "noise2map", "infer-region", "--help", cwd=tmp_path)  # it compiles
    before = {path for path in folder.rglob("*") if "noise2map" in path.name}
    assert any("__pycache__" in path.parts for path in folder.rglob("noise2map_core/**/*.pyc"))
    assert before
    run(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "uninstall", "--yes",
        "--quiet", "noise2map", cwd=tmp_path,
    )  # fmt: skip
    assert [
        path for path in folder.rglob("*") if "noise2map" in str(path.relative_to(folder))
    ] == []


def test_the_wheel_holds_every_file_of_the_applications(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = [
        path.relative_to(checkout)
        for folder in ("pipelines", "tune")
        for path in (checkout / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert files
    assert {f"noise2map_core/applications/{path.as_posix()}" for path in files} <= held
    assert not any(name.startswith(("pipelines/", "tune/", "tests/", "infra/")) for name in held)
    assert {name.rpartition("/")[2] for name in held} >= {"LICENSE", "NOTICE"}


def test_the_installed_package_has_the_checkpoint_that_ships(
    installed: Path, checkout: Path, tmp_path: Path
) -> None:
    find = "from noise2map_core.models.checkpoint import load_checkpoint as load\n"
    find += "print(sum(p.numel() for p in load('buildings').parameters()))"
    here = run(sys.executable, "-c", find, cwd=checkout)
    assert int(here) > 0
    assert run(installed / "python", "-c", find, cwd=tmp_path) == here


def test_the_installed_command_finds_the_applications_without_the_checkout(
    installed: Path, checkout: Path, tmp_path: Path
) -> None:
    where = "import noise2map_core; print(noise2map_core.__file__)"
    assert str(checkout) not in run(installed / "python", "-c", where, cwd=tmp_path)
    shown = run(installed / "noise2map", "--help", cwd=tmp_path)
    for script in (checkout / "pipelines").glob("[a-z]*_*.py"):
        command = script.stem.replace("_", "-")
        assert f"  {command} " in shown
        help_text = run(installed / "noise2map", command, "--help", cwd=tmp_path)
        assert f"noise2map {command} [CONFIG ...]" in help_text


def test_the_installed_demo_has_what_it_needs(installed: Path, tmp_path: Path) -> None:
    assert "--output" in run(installed / "noise2map", "demo", "--help", cwd=tmp_path)
    find = (
        "from noise2map_core.cli.commands.demo import STEPS, step_config\n"
        "print(*[step_config(step).is_file() for step in STEPS])"
    )
    assert set(run(installed / "python", "-c", find, cwd=tmp_path).split()) == {"True"}
