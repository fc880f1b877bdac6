"""The versions of a schema, and how it grows."""
