"""What belongs to a connection and not to a message: its counter, and the topics it numbered."""

class Connections:
    def learn(self, line: int, number: int, topic: bytes | None) -> None:
        """From now on ``number`` means ``topic`` on this line; None takes it back.

        A topic too long for the table is not learned: its messages stay unknown.
        """
    def forget(self, line: int) -> None:
        """The connection ended: its counter and its numbers mean nothing any more."""
