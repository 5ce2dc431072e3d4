"""The tables of the database. Changing one takes a migration (proxy/services/migrations/versions).

What is searched for has columns of its own; the whole record is kept beside them as JSON, as the API gives it out.
"""
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

calls = Table(
    "calls", metadata,
    Column("id", String(64), primary_key=True),
    Column("began", BigInteger, nullable=False),            # ms since 1970
    Column("ended", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("ended_by", String(16), nullable=False),
    Column("caller", Text, nullable=False),
    Column("called", Text, nullable=False),
    Column("record", Text, nullable=False),
    Index("calls_began", "began", "id"),
)

transfers = Table(
    "transfers", metadata,
    Column("id", String(64), primary_key=True),
    Column("call", String(64), nullable=False, index=True),
    Column("began", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", Text, nullable=False),
    Column("record", Text, nullable=False),
    Index("transfers_began", "began", "id"),
)

contexts = Table(
    "contexts", metadata,
    Column("name", String(32), primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),      # s since 1970
    Column("headers", Text, nullable=False),
)

access = Table(
    "access", metadata,
    Column("id", String(64), primary_key=True),
    Column("expires", BigInteger, nullable=False),          # ms since 1970; 0: never
    Column("entry", Text, nullable=False),
)

actions = Table(
    "actions", metadata,
    Column("name", String(64), primary_key=True),
    Column("changed", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
)
