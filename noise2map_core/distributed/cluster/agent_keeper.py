"""Runs Ray's dashboard agent of a cluster started here, and outlives it.

A raylet ends as soon as this process of it does, and with it the run, although all that the agent
does is to hand on metrics. Ray starts this file in the agent's place, with the agent's arguments.
"""

import os
import signal
import subprocess
import sys
import time

POLL_S = 0.5


def main() -> int:
    """The agent's exit code if the raylet ended first; else wait for the raylet's end."""
    raylet = os.getppid()
    # The agent ends when its parent is not the process that this variable names.
    environment = {**os.environ, "RAY_RAYLET_PID": str(os.getpid())}
    agent = subprocess.Popen([sys.executable, "-u", *sys.argv[1:]], env=environment)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while os.getppid() == raylet:
            time.sleep(POLL_S)
            agent.poll()
    finally:
        if agent.poll() is None:
            agent.terminate()
            try:
                agent.wait(5)
            except subprocess.TimeoutExpired:
                agent.kill()
    return 0


if __name__ == "__main__":
    _title = "noise2map: Ray's metrics"
    try:
        from ray._raylet import setproctitle  # type: ignore[attr-defined]
    except ImportError:
        pass
    else:
        setproctitle(_title)
    sys.exit(main())
