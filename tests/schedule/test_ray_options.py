"""What is said of options for a cluster before any is reached; needs no Ray."""

import sys

import pytest


def test_where_ray_is_missing_the_extra_is_named(suite_file, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "ray", None)
    error = "flipbench: --backend ray needs the extra: pip install 'flipbench[ray]'\n"
    assert refused("run", suite_file(), "--backend", "ray") == error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--address", "auto"], "--address: needs --backend ray"),
        (["--gpu-share", "0.5"], "--gpu-share: needs --backend ray"),
        (["--backend", "ray", "--gpu-share", "0"], "--gpu-share 0: must be above 0 and at most 1"),
        (["--backend", "ray", "--workers", "2"], "--workers: the cluster's CPUs and GPUs say how many"),
        (["--backend", "ray", "--device", "cuda:1"], "--device cuda:1: Ray chooses among the GPUs of a node"),
        (["--budget", "8 hours"], "--budget 8 hours: expected a time such as 90m, 8h or 2d"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(suite_file, refused, options, said):
    assert refused("run", suite_file(), *options).startswith(f"flipbench: {said}")
