"""Say at once that a topic is not there: a client would wait for it, or take it for empty."""

from __future__ import annotations

from producers.topics import Client, partitions


class TopicMissing(LookupError):
    """A topic does not exist; the text names it and says what makes it."""


async def require(client: Client, *topics: str) -> None:
    """Return if all `topics` exist; raises `TopicMissing` naming those that lack, `KafkaError`."""
    found = await partitions(client, topics)
    if missing := [name for name in topics if name not in found]:
        names = ", ".join(missing)
        raise TopicMissing(f"topic {names}: does not exist; `liquidator topics create` makes it")
