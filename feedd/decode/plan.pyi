"""Compile a venue description into the tables that the native engine walks."""

from feedd.decode.salvage import Marks
from feedd.venues.schema import Depth, Learn, Venue

class Plan:
    """Key tables and programs of one venue; used by one pipeline, on one thread."""

    venue: str
    """Name of the venue, the prefix of its instrument names."""
    channels: tuple[str, ...]
    """Channel names by their index in the engine; REST bodies are ``"<channel>/rest"``."""
    slot_paths: tuple[tuple[str, ...], ...]
    """By engine channel: the path of every slot, as the venue file writes it."""
    learn: Learn | None
    marks: Marks
    """By what a message that cannot be read may still be known."""
    depth_rules: dict[str, Depth]
    """Channel name -> how its books are cut."""
    def __init__(self, venue: Venue) -> None:
        """Raises ConfigError when the description does not fit the engine's bounds."""

def compile_plan(venue: Venue) -> Plan:
    """The plan of ``venue``. Raises ConfigError with every reason why it cannot be compiled."""
