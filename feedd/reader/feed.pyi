from feedd.pipeline.core import Pipeline
from feedd.reader.line import Sink

class PipelineSink(Sink):
    """The messages of one connection go to the pipeline; commits at the end of each read."""

    def __init__(self, pipeline: Pipeline, venue: int, line: int) -> None: ...
