"""Kills the containers of a run that died. Run as a script, never imported.

The runner sends a handle on the first process of each container, and its number again when that is
closed. When the runner is gone, however suddenly, the socket ends, and so does what is left.
"""

import array
import signal
import socket
import sys


def main(number: int) -> None:
    """Serve on this open socket."""
    connection = socket.socket(fileno=number)
    handles: dict[bytes, int] = {}
    while True:
        space = socket.CMSG_SPACE(4)
        message, ancillary, _, _ = connection.recvmsg(64, space, socket.MSG_CMSG_CLOEXEC)
        if not message:
            break
        if ancillary:
            handles[message] = array.array("i", ancillary[0][2])[0]
        elif message in handles:
            socket.close(handles.pop(message))
    for handle in handles.values():
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__":
    main(int(sys.argv[1]))
