"""The partition of a key as Kafka's Java client chooses it; needs nothing but Python.

python murmur2.py trader-15802 12
"""

import sys

MASK = 0xFFFFFFFF
M, R, SEED = 0x5BD1E995, 24, 0x9747B28C


def murmur2(key: bytes) -> int:
    """Return the 32 bits of murmur2, as a number without sign."""
    found = (SEED ^ len(key)) & MASK
    whole = len(key) - len(key) % 4
    for place in range(0, whole, 4):
        word = int.from_bytes(key[place : place + 4], "little") * M & MASK
        word = (word ^ word >> R) * M & MASK
        found = (found * M & MASK) ^ word
    if rest := key[whole:]:
        found = (found ^ int.from_bytes(rest, "little")) * M & MASK
    found = (found ^ found >> 13) * M & MASK
    return found ^ found >> 15


def partition(key: bytes, partitions: int) -> int:
    """Return the partition: the highest bit is taken off, which is not the same as `abs`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


if __name__ == "__main__":
    print(partition(sys.argv[1].encode(), int(sys.argv[2])))
