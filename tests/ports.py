"""Ports that nobody listens at, just now."""

import socket


def free_ports(count: int) -> list[int]:
    """Different ones, on the loopback interface."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports
