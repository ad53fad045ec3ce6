"""The sections of the page: each ``view`` turns figures into the texts, tables and charts of its template."""
