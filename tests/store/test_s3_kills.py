"""Studies whose results go to a bucket are killed as often as local ones: nothing is half there, all is byte for byte."""

from __future__ import annotations

import pytest

from killing import kill

pytest.importorskip("moto.server", reason="moto[server] is not installed")
pytest.importorskip("s3fs", reason="the extra `s3` is not installed")


@pytest.mark.slow
def test_results_in_a_bucket_are_those_of_an_undisturbed_study(tmp_path):
    kill("s3", 5, tmp_path)
