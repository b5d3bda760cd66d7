"""The client libraries, from outside."""
