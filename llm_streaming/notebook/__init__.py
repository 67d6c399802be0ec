"""Helpers for notebooks: the set-up check, live answers, figures and recorded results."""

from llm_streaming.notebook.chat_widget import ChatCellError, chat
from llm_streaming.notebook.results import RESULTS, display_figure, record, recorded
from llm_streaming.notebook.setup import SetupError, check_setup
from llm_streaming.notebook.show_streams import SideBySideError, StreamInterrupted, show, show_side_by_side

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
