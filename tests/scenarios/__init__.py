"""Scenarios as tables of text: an event a line, and what is decided at its end."""
