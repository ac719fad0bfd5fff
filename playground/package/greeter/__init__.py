"""A package that is run with -m; see __main__.py."""
