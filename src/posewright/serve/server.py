"""Running the application: uvicorn on an address, until it is told to stop."""

from __future__ import annotations

import ipaddress
import logging
import socket

import uvicorn

from posewright.serve.app import create_app
from posewright.serve.service import Service


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Args:
        host: address; "127.0.0.1" is reached from this machine alone.
        port: 0 takes a free one.

    Raises:
        OSError: the address cannot be listened on.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise OSError(f"cannot listen on {host}, port {port}: {error}") from None


def address(listener: socket.socket) -> str:
    """The URL of what listens there."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def private(listener: socket.socket) -> bool:
    """Whether it is reached from this machine alone."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def run(service: Service, listener: socket.socket, token: str = "") -> None:
    """Answer requests until SIGINT or SIGTERM; those accepted by then are answered first.

    Args:
        service: what answers; it is closed at the end.
        listener: see `listen`.
        token: see `create_app`.
    """
    # What is wrong with a request is its client's to know.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    config = uvicorn.Config(
        create_app(service, token),
        http="h11",  # refuses heads of more than 64 kB
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(2 * service.limits.seconds) + 1,
    )
    uvicorn.Server(config).run(sockets=[listener])
