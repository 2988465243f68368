"""The ledger in Redis, shared by several daemons."""
