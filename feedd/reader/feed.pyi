from feedd.pipeline.core import Pipeline
from feedd.reader.line import Sink
from feedd.shm.rawring import RawWriter

class PipelineSink(Sink):
    """The messages of one connection go to the pipeline; commits at the end of each read.

    ``tap`` gets a copy of each message first, for the recorder.
    """

    def __init__(
        self, pipeline: Pipeline, venue: int, line: int, tap: RawWriter | None = None
    ) -> None: ...
