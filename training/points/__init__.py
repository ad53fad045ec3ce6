"""Points tables: learning one, reading one."""
