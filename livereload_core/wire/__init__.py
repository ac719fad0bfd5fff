"""What crosses between parent and children: frames, messages and bundles, as pure functions on bytes."""
