"""The configuration file ``leadloop.toml``: its types, its reader, and drafts of it."""
