"""Failures of the operating system are said as they are."""

import errno
import os
from pathlib import Path

import pytest

from noise2map_core.geo.aoi import read_aoi
from noise2map_core.runtime.diagnosis import diagnosis
from noise2map_core.runtime.errors import ConfigError, explained
from noise2map_core.settings.reading import read_settings


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_what_the_system_says_is_kept_and_space_is_asked_for_only_where_it_lacks(
    number: int,
) -> None:
    told = explained(OSError(number, os.strerror(number), "/data/x"))
    assert told.startswith(f"{os.strerror(number)}: /data/x.")
    assert ("space" in told.partition("/data/x")[2]) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_an_error_without_a_number_is_its_own_text() -> None:
    assert explained(OSError("Failed to commit\ntransaction.")) == "Failed to commit transaction."


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EROFS])
def test_a_command_that_may_not_write_says_so(number: int) -> None:
    line, code = diagnosis(OSError(number, os.strerror(number), "/data/x"))
    assert code == 1 and "/data/x" in line and os.strerror(number) in line
    assert "permissions" in line or "written" in line


def test_a_folder_in_place_of_a_file_is_no_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory: .*it is a folder"):
        read_aoi(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_settings(tmp_path)
