"""The supervisor: owns terminal, listeners and held state; never imports user code, never unpickles."""
