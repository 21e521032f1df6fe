"""Write the journal into one event log."""

from __future__ import annotations

from consumers.config import Config
from consumers.journal import read_journal
from consumers.presence import require
from producers.event_log import EventLogWriter


async def write(config: Config, path: str) -> int:
    """Write every event of the journal to `path`, shard after shard, and return their number.

    Raises `TopicMissing`, `KafkaError`, and `OSError` when the file cannot be written.
    """
    client, journal = config.client(), config.topics.journal
    await require(client, journal)
    with EventLogWriter(path) as log:
        async for shard, event in read_journal(client, journal):
            log.write(shard, event)
    return log.events
