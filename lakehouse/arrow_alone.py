"""Arrow without pandas, in processes that have no data frames.

pyarrow imports pandas at the first value of Python's that it converts, if only to see whether that is a data frame:
0.3 to 0.6 s of a process that lives for two.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

_KEPT_OUT: list[bool] = []


class _Hidden(MetaPathFinder):
    """Finds no pandas."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """See ``MetaPathFinder``; None leaves the search to others."""
        if fullname == "pandas":
            raise ImportError(f"{fullname} is not looked for now")


def keep_pandas_out() -> None:
    """Has pyarrow not look for pandas; without effect once pandas is there.

    For a process that is all ours: until ``let_pandas_in`` a pandas series is to pyarrow a sequence like any other.
    Tables become data frames as ever, since pyarrow then looks again.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    _KEPT_OUT.append(True)
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.scalar(0)  # it looks once
    finally:
        sys.meta_path.remove(hidden)


def let_pandas_in() -> None:
    """Has pyarrow know pandas again, where it was kept out: for code that is about to use data frames."""
    if _KEPT_OUT:
        import pandas as pd
        import pyarrow as pa

        pa.Table.from_pandas(pd.DataFrame())
        _KEPT_OUT.clear()
