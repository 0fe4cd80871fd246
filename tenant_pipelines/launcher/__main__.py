"""`python -m tenant_pipelines.launcher`: the pool. Every warm process imports this module once more, so it is empty."""

if __name__ == "__main__":
    import sys

    from tenant_pipelines.launcher.pool import main

    sys.exit(main())
