"""The daemon on a real Kafka."""
