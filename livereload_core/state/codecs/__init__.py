"""Our own codecs, one module per library and each its only importer; see :mod:`thirdparty`.

Invariant: importing a codec does not import its library.
"""
