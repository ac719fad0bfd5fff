"""Decisions and plain data: no I/O, no clock, no process; everything here is tested in milliseconds."""
