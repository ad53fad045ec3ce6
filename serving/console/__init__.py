"""The console at /console: pages for people, rendered by the service itself, in English and German.

It is optional: without Jinja2 (the extra ``console``) the service answers everything else. Nothing is loaded
from elsewhere, nothing needs a build step, and every page works without its script.

A page is a function of a ``Visit`` (``serving.console.pages``): who asks, in which language, what was sent.
``console_page`` turns it into a route that asks for a permission first, and for the visitor's token where
something is to be changed.
"""
