"""`resources` and `sensors` are common names: what gets imported under them has to be ours."""

from importlib import import_module
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["resources", "sensors", "sandbox", "tenant_pipelines"])
def test_the_package_that_is_imported_is_ours(name: str) -> None:
    (place,) = import_module(name).__path__

    assert Path(place).resolve() == CHECKOUT / name
