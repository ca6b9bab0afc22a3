"""Settings of prune: those of the nights."""

from noise2map_core.workflows.launch import Workflow
from noise2map_core.workflows.run_nightly import NightlyConfig

WORKFLOW = Workflow(NightlyConfig)
