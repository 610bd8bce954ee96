"""Studies on a Ray cluster of two raylets lose drivers, workers and raylets, and no result."""

from __future__ import annotations

import pytest

from killing import kill

pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.mark.slow
def test_results_of_a_cluster_are_those_of_an_undisturbed_study(tmp_path):
    kill("ray", 3, tmp_path)
