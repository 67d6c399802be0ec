"""What a notebook shows: its set-up, answers as they grow, figures, and results that outlive the run."""

from llm_streaming.notebook.chat_cell import ChatCellError, chat
from llm_streaming.notebook.columns import SideBySideError, show_side_by_side
from llm_streaming.notebook.figures import display_figure
from llm_streaming.notebook.live import show
from llm_streaming.notebook.results import RESULTS, record, recorded
from llm_streaming.notebook.setup import SetupError, check_setup
from llm_streaming.notebook.streams import StreamInterrupted

__all__ = [
    "RESULTS",
    "ChatCellError",
    "SetupError",
    "SideBySideError",
    "StreamInterrupted",
    "chat",
    "check_setup",
    "display_figure",
    "record",
    "recorded",
    "show",
    "show_side_by_side",
]
