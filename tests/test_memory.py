"""Processes started with large pages."""

import multiprocessing
import os

import pytest

from flipbench.memory import TUNABLES, large_pages


def test_large_pages_reach_children_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TUNABLES, raising=False)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1) as before, large_pages():
        assert os.environ[TUNABLES] == "glibc.malloc.hugetlb=1"
        with spawn.Pool(1) as within:
            assert within.apply(os.getenv, [TUNABLES]) == "glibc.malloc.hugetlb=1"
        assert before.apply(os.getenv, [TUNABLES]) is None
    assert TUNABLES not in os.environ


def test_the_users_own_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TUNABLES, "glibc.malloc.check=0")
    with large_pages():
        assert os.environ[TUNABLES] == "glibc.malloc.check=0"
    assert os.environ[TUNABLES] == "glibc.malloc.check=0"
