"""The kinds of flows, a module each: importing this package makes all of them known to ``lakehouse.declaration``."""

from importlib import import_module
from pkgutil import iter_modules

for _found in iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")
