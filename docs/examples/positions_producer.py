"""Produce the events of accounts to `positions` so that none is lost, doubled or overtaken.

    python positions_producer.py --brokers 127.0.0.1:9092 --outbox venue.db < events.jsonl

Reads events, one JSON object a line, without `time` and `sequence`:

    {"type": "Deposit", "account": "alice", "asset": "USDT", "amount": "1000"}

An event gets its account's next number and goes into a table, the outbox; a venue does that in the
transaction that books what happened. What is in the outbox is sent, and marked when every copy of
Kafka has it. A program that dies in between sends again: the daemon passes over numbers it knows.
"""

import argparse
import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

TABLE = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    event TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, sequence)
)"""

# The oldest of each account: the next one goes when Kafka has it. So none overtakes another,
# whatever fails, and a wave still holds as many events as there are accounts.
WAVE = """
SELECT id, account, event FROM outbox
WHERE id IN (SELECT min(id) FROM outbox WHERE NOT sent GROUP BY account)
ORDER BY id LIMIT 1000"""


class Outbox:
    """What happened to accounts, in order, and how far it was sent."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute(TABLE)

    def add(self, events: Iterable[dict]) -> int:
        """Number events and keep them, all or none; return how many."""
        count = 0
        with self._database:
            for event in events:
                self._add(event)
                count += 1
        return count

    def _add(self, event: dict) -> None:
        account = event["account"]
        (last,) = self._database.execute(
            "SELECT coalesce(max(sequence), 0) FROM outbox WHERE account = ?", [account]
        ).fetchone()
        # Time is of the event, in microseconds UTC: when it happened, not when it is sent.
        numbered = {**event, "sequence": last + 1, "time": time.time_ns() // 1000}
        self._database.execute(
            "INSERT INTO outbox (account, sequence, event) VALUES (?, ?, ?)",
            [account, last + 1, json.dumps(numbered, separators=(",", ":"))],
        )

    def wave(self) -> list[tuple[int, str, str]]:
        """Return (id, account, event) of what may be sent now."""
        return self._database.execute(WAVE).fetchall()

    def sent(self, ids: Iterable[int]) -> None:
        """Take note of what Kafka has."""
        with self._database:
            self._database.executemany(
                "UPDATE outbox SET sent = 1 WHERE id = ?", [[i] for i in ids]
            )


async def publish(outbox: Outbox, brokers: str, topic: str) -> int:
    """Send all that is in the outbox; return how many events."""
    count = 0
    # The client's own partitioner is murmur2 of the key, as Java's; librdkafka's has to be told
    # ("partitioner": "murmur2_random").
    async with AIOKafkaProducer(
        bootstrap_servers=brokers,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=2,
    ) as producer:
        while wave := outbox.wave():
            sent = [
                await producer.send(topic, event.encode(), key=account.encode())
                for _, account, event in wave
            ]
            # An error ends the program: what is not marked is sent when it starts again.
            await asyncio.gather(*sent)
            outbox.sent(number for number, _, _ in wave)
            count += len(wave)
    return count


def main() -> None:
    """Read events from standard input, and send them with what is still to be sent."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--brokers", default="127.0.0.1:9092")
    parser.add_argument("--topic", default="positions")
    parser.add_argument("--outbox", default="outbox.db")
    options = parser.parse_args()
    outbox = Outbox(options.outbox)
    # A decimal stays the text that it is.
    lines = (line for line in sys.stdin if line.strip())
    added = outbox.add(json.loads(line, parse_float=str) for line in lines)
    count = asyncio.run(publish(outbox, options.brokers, options.topic))
    print(f"{added} new, {count} sent", file=sys.stderr)


if __name__ == "__main__":
    main()
