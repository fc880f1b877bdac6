"""From a file's bytes to rows: one module a format, all with the contract of ``rows``."""
