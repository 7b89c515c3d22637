"""The WSGI entry point."""

import gc

# Nothing of what is loaded is garbage, and to look for some takes a tenth of the start.
gc.disable()

from api.app import create_app  # noqa: E402
from config.logging import configure_logging  # noqa: E402
from config.settings import Settings  # noqa: E402

settings = Settings.load()
configure_logging(settings)
app = create_app(settings)
gc.enable()
