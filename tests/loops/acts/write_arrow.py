# Writes by a library's own C++.
import pyarrow


def act(arena):
    with pyarrow.OSFile(str(arena / "written.arrow"), "wb") as file:
        file.write(b"written")
