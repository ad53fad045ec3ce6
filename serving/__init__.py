"""The scoring service: small imports, small image."""
