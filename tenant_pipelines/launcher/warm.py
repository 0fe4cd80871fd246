"""What `forkserver` imports before the first worker: the one module that does something when it is imported."""

import os

from tenant_pipelines.launcher.preload import VARIABLE, preload

PRELOADED = preload(os.environ[VARIABLE])
"""A worker is a copy of the process that has this."""
