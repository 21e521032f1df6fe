"""Drive the engine: daemon, replay, command line."""
