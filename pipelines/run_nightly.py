"""Map every area that has new imagery: a time slice each, and what changed since the last one."""

from noise2map_core.cli.start import start

if __name__ == "__main__":
    start("run-nightly")  # settings first: what is imported below takes seconds

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from noise2map_core.nightly.areas import iter_areas
from noise2map_core.nightly.night import Watch, forecast, map_area, watch_area
from noise2map_core.nightly.outcome import AreaOutcome, NightOutcome
from noise2map_core.nightly.runner import Runner, run_on, run_process
from noise2map_core.nightly.summary import write_summary
from noise2map_core.nightly.webhook import post_summary, webhook_address
from noise2map_core.runtime.errors import FailedAreasError, UndeliveredError
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.workflows.run_nightly import NightlyConfig


def run(config: NightlyConfig, runner: Runner | None = None) -> NightOutcome:
    """Plan every area, map those with news in order, write the summary, tell the webhook.

    `runner`: who maps a region, in place of a process or of the cluster. Raises OutputHeldError if
    another night is at work, and, when all else is done, FailedAreasError or UndeliveredError.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    address = None if config.dry_run else webhook_address(config.webhook)
    with nullcontext() if config.dry_run else hold_lease(config.output):
        areas = list(_iter_outcomes(config, runner))
        seconds = time.perf_counter() - clock
        night = NightOutcome(config.output, areas, started, seconds, config.dry_run)
        if not config.dry_run:
            write_summary(night)
    if address:
        told = post_summary(address, night.document(), config.webhook.attempts)
        night = replace(night, webhook=told)
    _require_success(night)
    return night


def _iter_outcomes(config: NightlyConfig, runner: Runner | None) -> Iterator[AreaOutcome]:
    """All areas are planned before the first is mapped: what is wrong is said at once."""
    run_region = runner or (run_on(config.dashboard) if config.dashboard else run_process)
    watch = partial(watch_area, until=config.until, dry_run=config.dry_run)
    for one in [watch(name, area) for name, area in iter_areas(config)]:
        if not isinstance(one, Watch):
            yield one
        elif config.dry_run:
            yield forecast(one)
        else:
            yield map_area(one, run_region, lambda line: print(line, flush=True))


def _require_success(night: NightOutcome) -> None:
    """Raise FailedAreasError, behind the lines of all areas, if some failed; else UndeliveredError
    if somebody could not be told."""
    if not night.exit_code:
        return
    print("\n".join(night.summary()))
    if not night.failed:
        raise UndeliveredError(
            f"messages of {', '.join(area.id for area in night.undelivered)} were not delivered. "
            "All maps are made; the next night tries again."
        )
    names = ", ".join(area.id for area in night.failed)
    raise FailedAreasError(
        f"{len(night.failed)} of {len(night.areas)} areas failed: {names}. The others are done; "
        "mend these and run the same command again."
    )
