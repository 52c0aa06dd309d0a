"""Everything that looks at both loops from outside: compare, verdict, table, charts, doctor, speed."""
