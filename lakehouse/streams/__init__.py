"""Bronze and silver as functions from a session to a streaming DataFrame, and the runner that writes them."""
