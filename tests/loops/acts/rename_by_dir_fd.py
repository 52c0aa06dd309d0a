# Renames a file by the number of its folder.
import os


def act(arena):
    folder = os.open(arena, os.O_RDONLY)
    os.rename("grades.csv", "renamed.csv", src_dir_fd=folder, dst_dir_fd=folder)
