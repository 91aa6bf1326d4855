"""One end of a connection that carries messages of codec.py, and waits until a deadline at most.

judge  --- socket pair ---  rank         8 bytes: how long; then JSON; then the tensors' bytes
"""

import socket
import time

from minidl_grader.judge.cage.codec import HEAD, CodecError, decode, encode, sizes

PIECE = 1 << 16


class Closed(Exception):
    """The other side is gone."""


class Late(Exception):
    """A message did not arrive in time, or not all of it."""


class Channel:
    """Sends and receives messages over a connected socket.

    deadline  a time of time.monotonic(), or None for no limit
    ahead     may more be read than the next message needs? Not where descriptors come along.
    """

    def __init__(self, connection, ahead=True):
        self.socket = connection
        self.ahead = ahead
        self.buffer = bytearray()  # read, and not yet taken
        self.deadline = None
        self.limited = None  # the socket's time-out now

    def send(self, *message):
        """Send a message. Raises Closed, Late, or TypeError for a value that cannot travel."""
        self.send_bytes(encode(list(message)))

    def send_bytes(self, data):
        """Send a message that is encoded already."""
        try:
            self._hurry()
            self.socket.sendall(data)
        except TimeoutError:
            raise Late from None
        except OSError:
            raise Closed from None

    def receive(self):
        """The next message, a list.

        Raises Closed, Late, or CodecError for what is not a message.
        """
        text, tensors = sizes(bytes(self._take(HEAD.size)))
        body = self._take(text + tensors)
        message = decode(body[:text], body[text:])
        if not isinstance(message, list) or not message or not isinstance(message[0], (str, list)):
            raise CodecError("a message does not begin with what it asks for")
        return message

    def close(self):
        """Close this end."""
        self.socket.close()

    def _take(self, size):
        while len(self.buffer) < size:
            try:
                self._hurry()
                data = self.socket.recv(max(PIECE, size) if self.ahead else size - len(self.buffer))
            except TimeoutError:
                raise Late from None
            except OSError:
                raise Closed from None
            if not data:
                raise Closed
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _hurry(self):
        """Give the socket the time that is left until the deadline.

        Raises TimeoutError if none is.
        """
        if self.deadline is None:
            if self.limited is not None:
                self.socket.settimeout(None)
                self.limited = None
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        # To set it costs a system call, so a time-out that is nearly right stays.
        if self.limited is None or not left < self.limited < left + 0.25:
            self.socket.settimeout(left)
            self.limited = left


def pair():
    """Two connected sockets."""
    return socket.socketpair()
