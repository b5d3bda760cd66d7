"""One suite for both client libraries: each is a driver program that reads commands and writes events."""
