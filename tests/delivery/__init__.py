"""The stages of the delivery path, in the test's own process, over a real server."""
