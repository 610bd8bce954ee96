"""The special functions are those of scipy, and loading them leaves scipy.special as it is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import special as scipy_special

from fairpress.auditing.statistics import special

NAMES = sorted(name for name in vars(special) if isinstance(getattr(special, name), np.ufunc))


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_function_computes_what_scipys_does(name):
    function, peer = getattr(special, name), getattr(scipy_special, name)
    x = np.linspace(0.01, 0.99, 50)
    successes, rows = np.floor(x * 20 + 1), np.floor(x * 30 + 2)
    arguments = [successes, rows.astype(int) if name == "bdtr" else rows, x][3 - function.nin :]
    np.testing.assert_array_equal(function(*arguments), peer(*arguments))


def test_the_rest_of_scipy_special_is_not_loaded_and_can_be_loaded_afterwards():
    assert len(NAMES) > 8
    assert run(
        "import sys\n"
        "from fairpress.auditing.statistics import special\n"
        "print([m for m in ('scipy.special', 'scipy._lib._array_api', 'numpy.f2py') if m in sys.modules])\n"
        "import scipy.special, scipy.stats, scipy.optimize, scipy.linalg.cython_lapack\n"
        "print(scipy.special.logsumexp([0.0]), scipy.special.ndtr is not None, scipy.stats.norm.cdf(0))\n"
        "print(scipy.linalg.inv([[2.0]]), 'dgesv' in scipy.linalg.cython_lapack.__pyx_capi__)\n"
    ).split("\n")[:3] == ["[]", "0.0 True 0.5", "[[0.5]] True"]


def test_a_scipy_without_that_extension_serves_as_well():
    assert "0.5" in run(
        "import sys\n"
        "sys.modules['scipy.special._ufuncs'] = None\n"
        "import types\n"
        "whole = types.ModuleType('scipy.special')\n"
        "class Loads:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'scipy.special':\n"
        "            import importlib.machinery as m\n"
        "            return m.ModuleSpec(name, self)\n"
        "    def create_module(self, spec): return None\n"
        "    def exec_module(self, module):\n"
        "        module.__getattr__ = lambda name: (lambda *a: 0.5)\n"
        "sys.meta_path.insert(0, Loads())\n"
        "from fairpress.auditing.statistics import special\n"
        "print(special.ndtr(0))\n"
    )
