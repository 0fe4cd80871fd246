"""What the light workers are copies of."""

import tests.launcher.light
import tests.launcher.light_idle  # noqa: F401
