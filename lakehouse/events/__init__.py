"""File events: what a store tells of new objects, kept until the streams have read it."""
