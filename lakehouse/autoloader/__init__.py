"""The ``cloudFiles`` source: options → discovery → journal → plan → read → schema and rescue."""
