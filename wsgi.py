"""The WSGI entry point."""

from api.app import create_app
from config.logging import configure_logging
from config.settings import Settings

settings = Settings.load()
configure_logging(settings)
app = create_app(settings)
