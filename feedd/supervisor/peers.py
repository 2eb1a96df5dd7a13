"""Who is at the other end of a Unix socket, as the kernel says, and what they may do."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass

from feedd.control.protocol import Role

__all__ = ["Peer", "Roles", "peer_of"]

SO_PEERGROUPS = 59
"""Linux 4.13; the socket module has no name for it."""
GROUPS_BYTES_MAX = 1_024
"""What the socket module can fetch: 256 groups; a peer with more counts by its primary group."""


@dataclass(frozen=True)
class Peer:
    pid: int
    uid: int
    gids: frozenset[int]

    def __str__(self) -> str:
        try:
            name = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            name = "?"
        return f"uid={self.uid}({name}) pid={self.pid}"


def peer_of(sock: socket.socket) -> Peer:
    """Credentials that the peer had when it connected; it cannot make them up."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    try:
        more = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS_BYTES_MAX)
    except OSError:
        more = b""
    groups = struct.unpack(f"{len(more) // 4}I", more)
    return Peer(pid, uid, frozenset({gid, *groups}))


class Roles:
    """Root, the daemon's own user, the named users and members of the named groups operate."""

    def __init__(self, users: Collection[str], groups: Collection[str]) -> None:
        self._uids = {0, os.geteuid(), *(pwd.getpwnam(user).pw_uid for user in users)}
        self._gids = {grp.getgrnam(group).gr_gid for group in groups}

    def of(self, peer: Peer) -> Role:
        if peer.uid in self._uids or self._gids & peer.gids:
            return Role.OPERATE
        return Role.READ
