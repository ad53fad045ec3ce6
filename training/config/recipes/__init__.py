"""Recipes of known layouts: what a CRM's tables are called and mean, as TOML files beside this one.

A recipe is the draft of a ``leadloop.toml`` for a layout that is known, and how to know it. ``leadloop init``
looks for each recipe's tables, leaves out what is not there, and looks at the rows for the rest.
``docs/reference/recipes.md`` describes the format; ``training.config.recipe`` reads it.
"""
