"""The gateway: the configuration of an nginx before redirects and API, made of one template."""
