"""Campaigns over Redis, Valkey and NATS."""
