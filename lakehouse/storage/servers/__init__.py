"""The servers that can be embedded, a module each: its name is the value of ``LAKEHOUSE_STORE``."""
