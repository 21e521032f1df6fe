"""Decide: events in, decisions out."""
