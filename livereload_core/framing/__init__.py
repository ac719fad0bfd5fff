"""Where messages begin and end in byte streams that pass by: HTTP/1.x and WebSocket, as pure state on bytes.

Nothing here reads, writes or changes what passes. The state after a number of bytes depends on these bytes
alone, never on how they were cut into chunks. Garbage never raises: a framer says that it knows no more.
"""
