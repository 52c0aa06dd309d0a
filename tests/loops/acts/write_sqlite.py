# Makes a database, in C.
import sqlite3


def act(arena):
    with sqlite3.connect(arena / "written.db") as database:
        database.execute("create table grades (name text)")
