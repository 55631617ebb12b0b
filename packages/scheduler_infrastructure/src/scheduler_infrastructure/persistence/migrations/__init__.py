"""The schema's history, for both databases. `upgrade` brings a database to the version that this code needs."""
