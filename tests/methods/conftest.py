import pytest

from flipbench.train.rng import make_deterministic


@pytest.fixture(scope="package", autouse=True)
def _as_a_run() -> None:
    make_deterministic(1)
