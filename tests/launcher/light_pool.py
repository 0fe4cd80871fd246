"""A pool of light workers: `python -m tests.launcher.light_pool '{"size": 2}'`."""

if __name__ == "__main__":
    import json
    import os
    import sys

    from tenant_pipelines.launcher.members import Role
    from tenant_pipelines.launcher.options import Options
    from tenant_pipelines.launcher.pool import run

    given = json.loads(sys.argv[1])
    modules = {Role.WORKER: "tests.launcher.light"}
    if given.pop("waker", False):
        modules[Role.WAKER] = "tests.launcher.light_idle"
    sys.exit(run(Options(os.environ["LIGHT_URL"], **given), modules, guard="tests.launcher.light_guard"))
