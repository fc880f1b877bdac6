"""File events: a store's notifications of new objects, kept until the streams have read them."""
