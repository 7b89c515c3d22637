"""OAuth 2.0: clients, grants, access tokens as JWT, and the keys that sign them."""
