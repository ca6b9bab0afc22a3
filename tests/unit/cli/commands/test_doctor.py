"""The doctor: each ailment is found, and has a way out."""

import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from noise2map_core.cli.commands import doctor
from noise2map_core.cli.commands.doctor import examine, run
from noise2map_core.runtime.errors import Noise2MapError
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.tools.doctor import DoctorConfig

Usage = namedtuple("Usage", "total used free")


def test_this_machine_passes(embedded: EmbeddedCatalog, capsys: pytest.CaptureFixture[str]) -> None:
    run(DoctorConfig(catalog=embedded.catalog))
    table = capsys.readouterr().out
    assert "fail" not in table
    for name in ("GDAL", "PROJ", "Ray", "Ray token", "shared memory", "disk", "torch", "GPU"):
        assert f" {name} " in table
    assert embedded.catalog in table


def test_a_catalogue_that_is_not_there_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Noise2MapError, match=r"1 of 10 checks failed: catalogue\."):
        run(DoctorConfig(catalog=str(tmp_path / "catalog.json")))
    assert "does not exist" in capsys.readouterr().out


def test_a_small_shared_memory_is_a_warning_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(2**26, 0, 2**26))
    check = doctor.check_shared_memory()
    assert check.status == "warn"
    assert "--shm-size" in check.way_out


@pytest.mark.parametrize(("free", "status"), [(2**29, "fail"), (2 * 2**30, "warn"), (2**34, "ok")])
def test_a_full_disk_fails(free: int, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(2**40, 0, free))
    assert doctor.check_disk().status == status


@pytest.mark.parametrize(
    ("mode", "token", "status"),
    [
        ("token", "secret", "ok"),
        ("token", None, "fail"),
        ("disabled", "secret", "warn"),
        (None, "secret", "ok"),
        (None, None, "ok"),
    ],
)
def test_the_token_is_looked_for_and_never_shown(
    mode: str | None,
    token: str | None,
    status: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    if token is not None:
        (tmp_path / "token").write_text(token)
    if mode is None:
        monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    else:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    check = doctor.check_ray_token()
    assert check.status == status
    assert "secret" not in str(check)


def test_an_untried_version_of_ray_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.__version__", "2.64.0")
    assert doctor.check_ray().status == "warn"


def test_libraries_that_nobody_compiles_are_a_warning_until_the_way_out_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("")
    monkeypatch.setattr("ray.__file__", str(tmp_path / "ray" / "__init__.py"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    check = doctor.check_bytecode()
    assert check.status == "warn"
    way_out = check.way_out.partition("python ")[2].split()
    subprocess.run([sys.executable, *way_out], check=True)
    assert doctor.check_bytecode().status == "ok"


def test_a_missing_driver_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DRIVERS", ("GTiff", "NoSuchDriver"))
    check = doctor.check_gdal()
    assert check.status == "fail"
    assert "NoSuchDriver" in check.found


def test_a_library_that_cannot_be_imported_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> doctor.Check:
        raise ImportError("libgdal.so")

    monkeypatch.setattr(doctor, "check_gdal", broken)
    check = next(examine(DoctorConfig()))
    assert (check.name, check.status) == ("GDAL", "fail")
    assert "libgdal.so" in check.found
