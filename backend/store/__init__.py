"""What the server keeps. One function is one transaction, and all SQL is in this package.

Functions take the pool, or where they say so a connection, and plain values; they raise `ProblemError` for what a
caller did and let asyncpg's errors through. Plain queries go through Piccolo's tables; what is hot or needs a lock
is SQL.
"""
