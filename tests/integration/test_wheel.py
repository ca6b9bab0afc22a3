"""The wheel: the library with its applications, at work without the checkout."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    ended = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the working tree, built without the network."""
    folder = tmp_path_factory.mktemp("dist")
    run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, checkout,
        cwd=folder,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and this one's other packages.

    They are named in a .pth file, whose folder's own .pth files do not count: so the editable
    install of the checkout is out of sight.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet",
        "--no-deps", "--no-index", "--force-reinstall", wheel, cwd=folder,
    )  # fmt: skip
    return folder / "bin"


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
