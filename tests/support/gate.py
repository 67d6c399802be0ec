"""An MLServer model that loads when a test lets it, or ends its server."""

import asyncio
import os
from pathlib import Path

from mlserver import MLModel

EXIT_STATUS = 3


class Gate(MLModel):
    """A model whose loading waits until something is written to the named pipe ``parameters.extra.pipe``.

    The text ``exit`` ends the server; any other text lets the model load.
    """

    async def load(self) -> bool:
        """Wait for the text."""
        assert self.settings.parameters
        assert self.settings.parameters.extra
        text = await asyncio.to_thread(Path(self.settings.parameters.extra["pipe"]).read_text)
        if text == "exit":
            os._exit(EXIT_STATUS)
        return True
