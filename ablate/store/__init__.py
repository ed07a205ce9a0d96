"""results.db: its tables, its views, and every read and write of it."""
