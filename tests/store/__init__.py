"""Contracts of the store: every test runs on fakeredis and on a real server where fakeredis can follow."""
