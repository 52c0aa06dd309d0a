# Reads another's file by a library's own C++.
import pyarrow


def act(arena):
    print(pyarrow.OSFile(str(arena / "grades.csv"), "rb").read())
