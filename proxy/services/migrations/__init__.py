"""Migrations of the database, run at each start; each file in versions/ is one step."""
