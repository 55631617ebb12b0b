"""Hints and signals over RabbitMQ."""
