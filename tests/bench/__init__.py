"""Measurements, each beside a baseline that ran on the same machine in the same minute.

What counts is the ratio: absolute numbers say as much about the machine as about the code.
"""
