"""The one seam to the operating system: fds, processes and the system calls that move them."""
