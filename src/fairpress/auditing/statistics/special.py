"""The special functions of scipy that an audit computes with, without what else ``import scipy.special`` loads.

Importing ``scipy.special`` makes namespaces for other array libraries, which takes as long as all of DuckDB and NumPy: a
quarter of the audit of a small table. The functions themselves are in one extension module of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "scipy.special"
REQUIRED = "scipy.linalg"
"""From scipy 1.18 on, the extension imports another one in this package."""


def _functions() -> Any:
    """Return the module with the functions: the extension alone if it loads so, else the whole package."""
    if PACKAGE not in sys.modules:
        import scipy

        bare = [name for name in (PACKAGE, REQUIRED) if name not in sys.modules]
        for name in bare:
            package = ModuleType(name)
            package.__path__ = [str(Path(scipy.__file__).parent / name.rpartition(".")[2])]
            sys.modules[name] = package
        try:
            from scipy.special import _ufuncs

            return _ufuncs
        except ImportError:  # a release of scipy that is built otherwise
            pass
        finally:
            for name in bare:
                del sys.modules[name]  # whoever imports a package gets it whole
            if REQUIRED in bare:
                for name in [name for name in sys.modules if name.startswith(f"{REQUIRED}.")]:
                    del sys.modules[name]  # imported again, it is an attribute of the whole package
    from scipy import special

    return special


_scipy = _functions()

bdtr = _scipy.bdtr
betainc = _scipy.betainc
betaincinv = _scipy.betaincinv
gammaincinv = _scipy.gammaincinv
gammaln = _scipy.gammaln
log_ndtr = _scipy.log_ndtr
nctdtr = _scipy.nctdtr
ndtr = _scipy.ndtr
ndtri = _scipy.ndtri
stdtr = _scipy.stdtr
stdtrit = _scipy.stdtrit
xlogy = _scipy.xlogy
