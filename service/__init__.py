"""inboxd: chat delivery on Redis Streams."""
