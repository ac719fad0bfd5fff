"""Kinds of target, one module per framework and each the only importer of its framework."""
