"""The store on PostgreSQL and SQLite. `engine` decides every difference between them; `tables` is the schema.

One file per noun holds its statements. Hot statements are set-based and written out for both dialects side by side;
ordinary ones are SQLAlchemy Core. Only `engine` begins and ends transactions.
"""
