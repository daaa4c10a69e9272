"""Tests of `crypto`, one file per module."""
