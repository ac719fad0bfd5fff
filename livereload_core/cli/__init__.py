"""The command line: words and files become settings, results become exit codes. The outermost layer."""
