"""Put decisions somewhere: Kafka, Prometheus, reports."""
