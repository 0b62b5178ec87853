"""Database dialects, pure: queries to send, rows to facts, steps to SQL. One module per dialect."""
