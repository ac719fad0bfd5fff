"""What people see and press: records as lines, a run's status, single keys. Decides nothing."""
