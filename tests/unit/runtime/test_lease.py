"""The lease: one run at a time, each with a higher number, given back by the dead."""

import subprocess
import sys
from pathlib import Path

import pytest

from noise2map_core.runtime.errors import OutputHeldError
from noise2map_core.runtime.lease import hold_lease

HOLDER = """
import sys, time
from pathlib import Path
from noise2map_core.runtime.lease import hold_lease
with hold_lease(Path(sys.argv[1])) as fence:
    print(fence, flush=True)
    time.sleep(60)
"""


def test_each_run_gets_a_higher_number(tmp_path: Path) -> None:
    numbers = []
    for _ in range(3):
        with hold_lease(tmp_path) as fence:
            numbers.append(fence)
    assert numbers == [1, 2, 3]


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline().strip() == "1"
        with pytest.raises(OutputHeldError, match=r"another run") as caught, hold_lease(tmp_path):
            pass
        assert caught.value.exit_code == 4
    finally:
        holder.kill()
        holder.wait(timeout=30)
        holder.stdout.close()
    with hold_lease(tmp_path) as fence:
        assert fence == 2
