"""PostgreSQL: every statement of `pdm`. Functions take a connection first and never commit; the caller owns it."""
